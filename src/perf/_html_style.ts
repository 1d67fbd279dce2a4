/**
 * The style of the page. Two sets of colours, light and dark, under the same names, which the charts
 * use as well; every pair of letters and ground has a contrast of at least 4.5 (WCAG 2.2, AA). Fonts
 * are those of the reader's system. On paper it is light, and no chart is cut in two.
 */

/** Style sheet; it holds nothing that came from outside. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff;
  --ground: #f5f6f7;
  --ink: #171b20;
  --muted: #586069;
  --rule: #e3e6ea;
  --accent: #1f5fbf;
  --good: #17713a;
  --good-area: #e6f3ea;
  --bad: #b3261e;
  --bad-area: #fbeae8;
  --fail-area: #b3261e14;
  --worse: #8a5300;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #15191e;
    --ground: #0d1014;
    --ink: #e8ebef;
    --muted: #9aa5b1;
    --rule: #2a3038;
    --accent: #78aefc;
    --good: #5bc480;
    --good-area: #12291b;
    --bad: #ff8a80;
    --bad-area: #321615;
    --fail-area: #ff8a801f;
    --worse: #e2ae5c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-padding-top: 1rem; }
body {
  margin: 0;
  background: var(--ground);
  color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
.page { max-width: 1144px; margin: 0 auto; padding: 28px 24px 48px; }
h1, h2, h3, p, ul, dl, dd, figure { margin: 0; padding: 0; }
h1 { font-size: 14px; font-weight: 600; color: var(--muted); }
h2 { font-size: 19px; line-height: 1.3; font-weight: 650; }
h3 { font-size: 13px; font-weight: 600; color: var(--muted); margin: 22px 0 8px; }
a { color: inherit; text-underline-offset: 3px; text-decoration-color: var(--muted); }
a:hover { text-decoration-thickness: 2px; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px;
}
.text { unicode-bidi: isolate; overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.card {
  background: var(--paper); border: 1px solid var(--rule); border-radius: 10px;
  padding: 22px 24px; margin-top: 16px;
}

.verdict { display: flex; gap: 18px; align-items: center; margin: 10px 0 4px; }
.verdict .sign { width: 52px; height: 52px; font-size: 27px; border-radius: 50%; }
.verdict strong { display: block; font-size: 34px; line-height: 1.15; font-weight: 700; letter-spacing: -.015em; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 190px), 1fr)); gap: 12px 28px;
  margin-top: 20px; padding-top: 18px; border-top: 1px solid var(--rule); font-size: 14px;
}
.facts dt { color: var(--muted); font-size: 12.5px; }
.sign {
  display: inline-grid; place-items: center; flex: none; width: 22px; height: 22px; border-radius: 50%;
  font-size: 13px; font-weight: 700; line-height: 1;
}
.passed .sign { color: var(--good); background: var(--good-area); }
.failed .sign { color: var(--bad); background: var(--bad-area); }
.skipped .sign, .not-built .sign { color: var(--muted); background: var(--ground); }
.failed strong.outcome, .missed { color: var(--bad); }
.figure.missed { font-weight: 600; }
.better { color: var(--good); }
.worse { color: var(--worse); }
.notice { margin-top: 14px; font-size: 14px; color: var(--muted); max-width: 86ch; }
.notice + .notice { margin-top: 6px; }

table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; color: var(--muted); font-size: 13px; padding-bottom: 6px; }
th, td { text-align: left; vertical-align: top; padding: 8px 16px 8px 0; border-top: 1px solid var(--rule); }
thead th { border-top: 0; padding-top: 0; font-size: 12.5px; font-weight: 500; color: var(--muted); vertical-align: bottom; }
tbody th { font-weight: 500; }
th:last-child, td:last-child { padding-right: 0; }
.figure { white-space: nowrap; }
.overview td, .overview tbody th { vertical-align: middle; padding-top: 9px; padding-bottom: 9px; }
.overview .name { display: flex; gap: 11px; align-items: center; }
.overview tbody th { width: 23%; }
.overview .name > span:last-child { min-width: 0; overflow-wrap: anywhere; }
.overview .name a { font-weight: 600; text-decoration: none; }
.overview .name a:hover { text-decoration: underline; }
.overview .name .text { display: block; font-size: 13px; font-weight: 400; color: var(--muted); line-height: 1.35; }
.overview .measured { font-weight: 600; }
table.rows .spark-cell { vertical-align: middle; padding-top: 4px; padding-bottom: 4px; }
.number { color: var(--muted); font-weight: 400; }
.trend { font-size: 13px; line-height: 1.4; }
.scroll { overflow-x: auto; }
.scroll th, .scroll td { white-space: nowrap; }

.benchmark { scroll-margin-top: 16px; }
.benchmark > header { display: flex; gap: 12px; align-items: flex-start; }
.benchmark > header .sign { margin-top: 1px; }
.description { margin-top: 4px; max-width: 86ch; color: var(--muted); }
.outcome-line { margin-top: 10px; padding: 9px 13px; border-radius: 6px; background: var(--ground); }
.failed .outcome-line { background: var(--bad-area); color: var(--bad); }
.charts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 318px), 1fr)); gap: 24px 28px; margin-top: 20px;
}
.charts figure { min-width: 0; max-width: 420px; display: flex; flex-direction: column; }
.charts svg { margin-top: auto; }
.charts .this-run svg { margin-top: 0; }
figcaption { font-size: 13.5px; line-height: 1.4; margin-bottom: 4px; }
figcaption b { font-weight: 600; }
figcaption .trend { display: block; }
svg { display: block; max-width: 100%; height: auto; font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; fill: currentColor; overflow: visible; }
svg.chart { width: 100%; }
svg.spark { width: 112px; }
svg text { white-space: pre; }
.remarks { padding-left: 18px; max-width: 96ch; font-size: 14px; }
.remarks li { margin: 3px 0; }
.remarks li::marker { color: var(--muted); }
details { margin-top: 18px; font-size: 14px; }
summary { cursor: pointer; color: var(--muted); width: fit-content; }
details[open] summary { margin-bottom: 10px; }
footer p + p { margin-top: 6px; }
footer { margin-top: 20px; font-size: 13px; color: var(--muted); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

@media screen and (max-width: 760px) {
  .page { padding: 14px 12px 32px; }
  .card { padding: 16px 14px; border-radius: 8px; margin-top: 12px; }
  .verdict { gap: 14px; }
  .verdict .sign { width: 44px; height: 44px; font-size: 22px; }
  .verdict strong { font-size: 26px; }
  .facts { grid-template-columns: 1fr 1fr; gap: 12px 16px; }
  .charts figure { max-width: none; }
  table.rows thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table.rows, table.rows caption, table.rows tbody { display: block; }
  table.rows tr { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 20px; padding: 11px 0; border-top: 1px solid var(--rule); }
  table.rows tbody tr:first-child { border-top: 0; }
  table.rows th, table.rows td { display: block; border: 0; padding: 0; min-width: 0; width: auto; }
  table.rows tbody th, table.rows .wide { width: 100%; }
  table.rows tr::after { content: ""; width: 100%; height: 0; order: 1; }
  table.overview .spark-cell, table.overview .wide-more { order: 2; }
  table.overview .wide { flex: none; order: 0; }
  table.rows .wide-more { flex: 1; }
  table.rows td.text { order: 2; flex: 1; }
  table.rows .spark-cell { padding: 0; }
  table.rows:not(.overview) .spark-cell { order: 3; }
  table.rows td[data-head]::before { content: attr(data-head); display: block; font-size: 12px; font-weight: 400; color: var(--muted); }
  table.rows td:empty { display: none; }
}
@media print {
  body { background: #ffffff; font-size: 10.5pt; }
  .page { padding: 0; max-width: none; }
  .card { border: 0; border-radius: 0; padding: 10pt 0; margin: 0; }
  .card + .card, main .card, footer { border-top: 1px solid var(--rule); }
  th, td { padding-right: 10px; }
  .sign { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure, tr, .benchmark > header, .outcome-line { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  .charts { grid-template-columns: repeat(3, 1fr); gap: 12pt; }
  details:not([open]) { display: none; }
  a { text-decoration: none; }
}
`;
