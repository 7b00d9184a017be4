/* Runs before anything is drawn, so that no page flashes up in the wrong colours. */

(() => {
  const KEY = "cteg.theme";
  const night = matchMedia("(prefers-color-scheme: dark)");
  const known = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const apply = (isDark) => document.documentElement.classList.toggle("dark", isDark);
  const follow = () => apply(known() ? known() === "dark" : night.matches);
  night.addEventListener("change", follow);
  follow();

  window.ctegTheme = {
    get isDark() {
      return document.documentElement.classList.contains("dark");
    },
    /** Changes to the other theme and remembers that. */
    toggle() {
      apply(!this.isDark);
      try {
        localStorage.setItem(KEY, this.isDark ? "dark" : "light");
      } catch {
        // it holds for this visit then
      }
    },
  };
})();
