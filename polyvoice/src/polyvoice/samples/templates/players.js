// One sound at a time; a line runs over its picture; a click into the picture plays from there.
const players = [...document.querySelectorAll(".speech audio")];
for (const player of players) {
  const panel = player.closest(".speech").querySelector(".panel");
  const cursor = panel.querySelector(".cursor");
  const follow = () => {
    cursor.style.left = `${(100 * player.currentTime) / (player.duration || 1)}%`;
    if (!player.paused) requestAnimationFrame(follow);
  };
  player.addEventListener("play", () => {
    players.filter((other) => other !== player).forEach((other) => other.pause());
    panel.classList.add("playing");
    follow();
  });
  player.addEventListener("seeked", follow);
  player.addEventListener("ended", () => panel.classList.remove("playing"));
  panel.addEventListener("click", async (event) => {
    const part = (event.clientX - panel.getBoundingClientRect().left) / panel.clientWidth;
    await player.play();
    player.currentTime = part * player.duration;
  });
}
