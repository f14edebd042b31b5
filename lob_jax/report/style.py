"""The style sheet of a report: light, readable on a phone, and made for printing."""

STYLE = """
:root { color-scheme: light; --ink: #1c2024; --soft: #59626b; --line: #d5dadf; --paper: #ffffff; --tint: #f4f6f8;
  --accent: #005a8c; }
* { box-sizing: border-box; }
html { font-size: 16px; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; line-height: 1.5; }
main, header.page, footer.page { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header.page { padding-top: 2.25rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 0 0 .6rem; padding-top: 1.4rem; border-top: 1px solid var(--line); }
section { margin-top: 2.2rem; }
p { margin: 0 0 .8rem; max-width: 46rem; overflow-wrap: anywhere; }
.lead { color: var(--soft); }
.note { color: var(--soft); font-size: .84rem; max-width: 58rem; }
.verdict { background: var(--tint); border-left: 4px solid var(--accent); padding: .6rem .9rem; max-width: none;
  margin: 0 0 .6rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 1rem 0 0; padding: 0;
  font-size: .92rem; }
a { color: var(--accent); }
a:focus-visible { outline: 3px solid #e69f00; outline-offset: 2px; }
.scroll { overflow-x: auto; margin: 0 0 .4rem; }
.scroll:focus-visible { outline: 3px solid #e69f00; outline-offset: 2px; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; min-width: 22rem; }
caption { text-align: left; font-weight: 600; padding: .5rem 0 .35rem; color: var(--ink); }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; text-align: left; }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; font-weight: 600; }
tbody th { font-weight: 400; min-width: 10rem; }
tbody tr:nth-child(even) { background: var(--tint); }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
.absent { color: var(--soft); font-style: italic; }
.interval { display: block; color: var(--soft); font-size: .8rem; }
td.text { overflow-wrap: anywhere; min-width: 8rem; }
figure { margin: 1.1rem 0 1.5rem; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); background: #fff; }
figcaption { color: var(--soft); font-size: .86rem; margin-top: .35rem; max-width: 50rem; }
details { margin: 0 0 .8rem; }
summary { cursor: pointer; color: var(--accent); }
footer.page { color: var(--soft); font-size: .84rem; padding-top: 1.2rem; padding-bottom: 2.5rem; margin-top: 2.5rem; }
@media (max-width: 40rem) {
  html { font-size: 15px; }
  main, header.page, footer.page { padding-left: .8rem; padding-right: .8rem; }
  h1 { font-size: 1.45rem; }
  th, td { padding: .28rem .45rem; }
  tbody th { min-width: 6.5rem; }
  figure img { min-width: 38rem; }
}
@page { margin: 16mm 14mm; }
@media print {
  html { font-size: 10pt; }
  main, header.page, footer.page { max-width: none; padding: 0; }
  nav { display: none; }
  a { color: inherit; text-decoration: none; }
  section { margin-top: 1.2rem; }
  h2, caption { break-after: avoid; }
  figure, tr, .verdict { break-inside: avoid; }
  thead { display: table-header-group; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; min-width: 0; }
  th, td { padding: .15rem .35rem; }
  .number { white-space: normal; }
  figure img { max-height: 225mm; width: auto; min-width: 0; }
  details > :not(summary) { display: block; }
}
"""
