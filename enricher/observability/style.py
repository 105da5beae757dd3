"""How the status page looks: readable on a phone and on a desk, by day and by night."""

STYLE = """
:root { --ink: #1a1d21; --quiet: #5b6470; --paper: #f6f7f9; --card: #ffffff; --line: #d9dde3;
  --good: #0b6b3a; --good-back: #d9f2e3; --bad: #a11616; --bad-back: #fde0de; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --quiet: #9aa4b1; --paper: #14171b; --card: #1d2127; --line: #333a44;
    --good: #7fe0a8; --good-back: #12392a; --bad: #ff9d95; --bad-back: #4a1a1a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0; }
.who { color: var(--quiet); font-size: 1rem; font-weight: 400; overflow-wrap: anywhere; }
a { color: inherit; margin-right: .8rem; }
footer { margin: 1.6rem 0 .5rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p { margin: .4rem 0; }
header ul { margin: .6rem 0; padding: 0; list-style: none; }
header li { padding: .5rem .8rem; border-radius: .4rem; background: var(--card); border: 1px solid var(--line);
  margin-bottom: .3rem; }
header li.alert { background: var(--bad-back); border-color: var(--bad-back); }
.quiet { color: var(--quiet); font-size: .85rem; }
.alert { color: var(--bad); }
.pill { display: inline-block; padding: .1rem .7rem; border-radius: 1rem; font-weight: 600; }
.good { color: var(--good); background: var(--good-back); }
.bad { color: var(--bad); background: var(--bad-back); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.tile dt { color: var(--quiet); font-size: .85rem; }
.tile dd { margin: 0; font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile dd.quiet { font-size: .85rem; font-weight: 400; }
.tile.alert { border-color: var(--bad); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th { color: var(--quiet); font-weight: 500; }
th.name, td.name { text-align: left; }
td.name { overflow-wrap: anywhere; }
.wrap td { white-space: normal; min-width: 6rem; }
.wrap td:first-child { width: 30%; }
.wrap td:last-child { width: 14%; color: var(--quiet); }
@media (max-width: 40rem) {
  .tiles { grid-template-columns: 1fr 1fr; }
  th, td { padding: .35rem .5rem; }
  td.name:first-child { white-space: normal; min-width: 7rem; }
  .spared { display: none; }
  /* A setting's name above its value: side by side neither has room. */
  .wrap tr { display: block; padding: .35rem .5rem; border-bottom: 1px solid var(--line); }
  .wrap tr:first-child { display: none; }
  .wrap tr:last-child { border-bottom: 0; }
  .wrap td, .wrap td:first-child, .wrap td:last-child { display: inline; border: 0; padding: 0 .5rem 0 0; width: auto; }
  .wrap td:first-child { display: block; color: var(--quiet); font-size: .85rem; }
  .wrap td:last-child { font-size: .85rem; white-space: nowrap; }
}
"""
