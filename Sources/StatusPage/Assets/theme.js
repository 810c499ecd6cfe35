// Before anything is drawn: the theme that was chosen here before. "system" follows the browser's preference.
(() => {
  const order = ["system", "light", "dark"];
  const read = () => {
    try { return localStorage.getItem("swarmscale-theme"); } catch { return null; }
  };
  const apply = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  let theme = order.includes(read()) ? read() : "system";
  apply(theme);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => { button.textContent = `Theme: ${theme}`; };
    show();
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      try { localStorage.setItem("swarmscale-theme", theme); } catch { /* It holds until the page is closed. */ }
      apply(theme);
      show();
    });
  });
})();
