"""How the page at `/docs` looks: small, without fonts, pictures or scripts, in the reader's light or dark."""

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #fbfaf7; --ink: #23211d; --faint: #6b675e; --line: #e2ded4; --panel: #f3f0e8;
  --accent: #8a4b16; --code: #2a2721; --get: #1f6f54; --post: #8a4b16; --delete: #a3322c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #191815; --ink: #e8e4da; --faint: #a09a8d; --line: #35322b; --panel: #22201c;
    --accent: #e0a267; --code: #e8e4da; --get: #6cc3a0; --post: #e0a267; --delete: #ec8b84;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
code, pre { font: 0.86em/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; color: var(--code); }
pre { margin: 0.4rem 0 1rem; padding: 0.8rem 1rem; background: var(--panel); border-radius: 6px;
  overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.frame { display: grid; grid-template-columns: 15rem minmax(0, 1fr); max-width: 84rem; margin: 0 auto; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 2rem 1rem; font-size: 0.88rem; }
nav ul { list-style: none; margin: 0.2rem 0 1.1rem; padding: 0; }
nav li { padding: 0.1rem 0; }
nav b { color: var(--faint); font-weight: 600; }
main { padding: 2rem 2rem 6rem; border-left: 1px solid var(--line); }
h1 { font-size: 1.7rem; margin: 0 0 0.5rem; }
h2 { font-size: 1.25rem; margin: 3.5rem 0 0.5rem; }
h3 { font-size: 1.05rem; margin: 0 0 0.3rem; }
h4 { font-size: 0.82rem; margin: 1rem 0 0.2rem; color: var(--faint); font-weight: 600; }
article { padding: 1.6rem 0; border-top: 1px solid var(--line); display: grid; gap: 0 2rem;
  grid-template-columns: minmax(0, 11fr) minmax(0, 9fr); }
article header { grid-column: 1 / -1; }
article header p { margin: 0.3rem 0 0; }
.method { font-weight: 700; margin-right: 0.6rem; }
.GET { color: var(--get); } .POST { color: var(--post); } .DELETE { color: var(--delete); }
.names code { margin-right: 0.9rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; margin: 0.2rem 0 0.8rem; }
td { padding: 0.35rem 0.8rem 0.35rem 0; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child td { border-top: 0; }
td:first-child { white-space: nowrap; width: 1%; }
small { color: var(--faint); font-size: 0.85em; }
details { margin-top: 0.8rem; } summary { cursor: pointer; color: var(--faint); font-size: 0.88rem; }
:target { background: var(--panel); }
@media (max-width: 60rem) {
  .frame, article { grid-template-columns: minmax(0, 1fr); }
  nav { position: static; height: auto; padding-bottom: 0; }
  nav ul { columns: 2; }
  main { border-left: 0; padding: 1rem 1rem 4rem; }
}
"""
