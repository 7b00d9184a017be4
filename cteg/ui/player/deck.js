/** What buttons, keys and pointers do to the player. */

/**
 * Joins the controls with the clock and the camera of a player.
 *
 * @param {import("./player.js").Player} player
 * @returns {import("./controls.js").Deck}
 */
export function makeDeck(player) {
  const { clock, captions } = player;
  const redraw = () => player.stage?.invalidate();
  const camera = (change) => {
    if (!player.stage) return;
    change(player.stage.camera);
    redraw();
  };
  return {
    clock,
    captions,
    toggle: () => {
      if (clock.playing) clock.pause();
      else clock.play();
      player.stage?.refresh();
    },
    seek: (position) => player.seek(position),
    step: (direction) => {
      clock.step(direction);
      redraw();
    },
    orbit: (yaw, pitch) => camera((view) => view.orbit(yaw, pitch)),
    zoom: (factor) => camera((view) => view.scale(factor)),
    resetView: () => camera((view) => view.reset()),
    leaveEnlarged: () => player.faces.show([]),
    changed: redraw,
  };
}
