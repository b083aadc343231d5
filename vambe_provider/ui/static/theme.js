// Follow the theme of Airflow's page around this one, also when it is switched; alone, the system's.
"use strict";
try {
  const outer = window.parent === window ? null : window.parent.document.documentElement;
  if (outer) {
    const follow = () => {
      const dark = outer.classList.contains("dark") || outer.dataset.theme === "dark";
      document.documentElement.dataset.theme = dark ? "dark" : "light";
    };
    follow();
    new MutationObserver(follow).observe(outer, { attributeFilter: ["class", "data-theme"] });
  }
} catch { /* another site around this page: it is not shown there anyway */ }
