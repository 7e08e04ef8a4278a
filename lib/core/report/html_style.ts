/** The style of the HTML report: light, dark and paper; words and signs carry what colours only repeat. */
export const style = `
:root {
  color-scheme: light dark;
  --page: #f6f7f8; --card: #fff; --ink: #1a1f26; --soft: #525c69; --rule: #d5dae0; --well: #f0f2f5;
  --link: #0b57b0;
  --pass: #11683a; --pass-fill: #e2f4e8; --fail: #a4161a; --fail-fill: #fde7e7;
  --error: #8a3b00; --error-fill: #ffeedd; --na: #4c5663; --na-fill: #eceff3;
  --exception: #5b3aa6; --exception-fill: #efe9fb; --series: #1f6fb5; --series-fill: #cfe3f6;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #12161b; --card: #1a2027; --ink: #e7ebf0; --soft: #a9b4c1; --rule: #343d48; --well: #222a33;
    --link: #7db7ff;
    --pass: #7fdca3; --pass-fill: #14331f; --fail: #ff9d9d; --fail-fill: #451a1c;
    --error: #ffbe7d; --error-fill: #402a12; --na: #b4bfcc; --na-fill: #2a323c;
    --exception: #c9b4ff; --exception-fill: #2e2548; --series: #6cb2f0; --series-fill: #1d3a55;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
.wrap { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
a { color: var(--link); }
h1, h2, h3, h4 { line-height: 1.25; margin: 0; }
h2 { font-size: 1.35rem; margin: 2.75rem 0 .9rem; }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .6rem; }
h4 { font-size: .95rem; margin: 1.1rem 0 .35rem; }
p { margin: .5rem 0; }
code, pre { font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, "Liberation Mono", monospace; font-size: .86em; }
body { overflow-wrap: anywhere; }
code, pre, dd, td { unicode-bidi: isolate; }
.soft { color: var(--soft); }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: .5rem .9rem; z-index: 2; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 4px; }
* + .onpaper { display: none; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.banner { border-bottom: 1px solid var(--rule); background: var(--card); border-top: .5rem solid var(--tone); }
.banner .wrap { padding-top: 1.5rem; padding-bottom: 1.6rem; }
.banner .kind { color: var(--soft); margin: 0 0 .35rem; }
.banner h1 { font-size: clamp(1.7rem, 5vw, 2.4rem); color: var(--tone); }
.banner .tally { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.holds { --tone: var(--pass); } .fails { --tone: var(--fail); }

nav ul { display: flex; flex-wrap: wrap; gap: .35rem 1.1rem; list-style: none; margin: 1rem 0 0; padding: 0; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: 1rem 1.2rem; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.25rem; margin: 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; min-width: 0; }

.pill { display: inline-block; white-space: nowrap; font-weight: 600; font-size: .85rem; line-height: 1.5; padding: .05rem .6rem; border-radius: 1rem; color: var(--tint); background: var(--fill); border: 1px solid currentColor; }
.pass { --tint: var(--pass); --fill: var(--pass-fill); } .fail { --tint: var(--fail); --fill: var(--fail-fill); }
.error { --tint: var(--error); --fill: var(--error-fill); } .na { --tint: var(--na); --fill: var(--na-fill); }
.exception { --tint: var(--exception); --fill: var(--exception-fill); }

table { border-collapse: collapse; width: 100%; font-size: .93rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; overflow-wrap: normal; } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; position: relative; } td:first-child { white-space: nowrap; }
.rows { table-layout: fixed; } .rows th:nth-child(1) { width: 8.2rem; } .rows th:nth-child(2) { width: 7.2rem; } .rows th:nth-child(3) { width: 22%; } .rows th:nth-child(5) { width: 20%; }
.places { margin: 0; padding-left: 1rem; } td > code { white-space: nowrap; }
.matrix th:first-child { white-space: nowrap; width: 8rem; } .matrix tr:last-child > * { border-bottom: 0; }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; margin: 0; padding: 0; }
.chip { display: inline-flex; gap: .35rem; align-items: baseline; padding: .1rem .55rem; border-radius: .4rem; border: 1px solid var(--tint); background: var(--fill); color: var(--tint); text-decoration: none; font-size: .86rem; }
.chip:hover { text-decoration: underline; }

details { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; margin: .5rem 0; }
details.unmet { border-left: .35rem solid var(--tint); }
summary { cursor: pointer; padding: .65rem 1rem; display: grid; grid-template-columns: 6.2rem 1fr auto; gap: .2rem .9rem; align-items: baseline; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary .pill { justify-self: start; } summary .what { min-width: 0; }
summary .what b { overflow-wrap: anywhere; } summary .what span { display: block; color: var(--soft); }
summary .grade { color: var(--soft); font-size: .86rem; white-space: nowrap; }
summary .grade::after { content: " ▸"; } details[open] > summary .grade::after { content: " ▾"; }
.plain > summary { display: block; color: var(--link); }
.plain > summary::before { content: "▸ "; } .plain[open] > summary::before { content: "▾ "; }
.body { padding: .2rem 1rem 1rem; border-top: 1px solid var(--rule); }
.body .facts { margin-top: .7rem; }
pre { background: var(--well); border: 1px solid var(--rule); border-radius: .4rem; padding: .7rem .85rem; margin: .45rem 0 0; white-space: pre-wrap; max-height: 26rem; overflow: auto; }
.attention { border-left: .35rem solid var(--tint); margin: .6rem 0; }
.attention p { margin: .35rem 0; } .attention h3 { margin: 0; display: flex; gap: .7rem; flex-wrap: wrap; align-items: baseline; }

figure { margin: .75rem 0 0; } figcaption { color: var(--soft); font-size: .93rem; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, "Liberation Sans", sans-serif; }
svg .quiet { fill: var(--soft); } svg .rule { stroke: var(--rule); } svg .axis { stroke: var(--soft); }
svg .area { fill: var(--series-fill); } svg .line { fill: none; stroke: var(--series); stroke-width: 2; stroke-linejoin: round; }
svg .tick { stroke: var(--series); stroke-width: 1.5; } svg .gap { fill: var(--fail-fill); stroke: var(--fail); }
svg .bracket { stroke: var(--exception); stroke-width: 2; stroke-dasharray: 5 3; } svg .bad { fill: var(--fail); }
svg .bar { fill: var(--series); } svg .soon { fill: var(--error); } svg .over { fill: var(--fail); }
footer { color: var(--soft); border-top: 1px solid var(--rule); margin-top: 3rem; padding: 1.25rem 0 2.5rem; font-size: .93rem; }

@media (max-width: 40rem) {
  .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: .6rem; }
  summary { grid-template-columns: 1fr auto; } summary .what { grid-column: 1 / -1; grid-row: 2; }
  .scroll table { min-width: 44rem; } .scroll caption { max-width: 88vw; } .scroll svg { min-width: 38rem; }
  .matrix, .matrix caption, .matrix tbody, .matrix tr, .matrix th, .matrix td { display: block; } .matrix thead { display: none; }
  .matrix th { border: 0; padding-bottom: 0; width: auto; }
}
@media print {
  @page { margin: 15mm; }
  :root { --page: #fff; }
  body { font-size: 10pt; } .wrap { max-width: none; padding: 0; } nav, .skip { display: none; }
  h2 { break-after: avoid; } h3, h4, caption { break-after: avoid; }
  tr, summary, .attention, figure, .facts > div { break-inside: avoid; }
  details { break-inside: auto; } details::details-content { content-visibility: visible; height: auto; }
  summary .grade::after, .plain > summary::before { content: none !important; }
  table { font-size: 8pt; } .pill { font-size: 7.5pt; } td, th { padding: .25rem .6rem .25rem 0; } .rows th:nth-child(1), .rows th:nth-child(2) { width: 6.4rem; } .matrix { font-size: 9pt; }
  pre { max-height: none; overflow: visible; font-size: 7pt; line-height: 1.3; }
  /* what passes is shown in part on paper, and said to be */
  details:not(.unmet) .long { max-height: 7rem; overflow: hidden; } details:not(.unmet) .long + .onpaper { display: block; }
  summary { padding: .3rem .6rem; } .body { padding: .2rem .6rem .5rem; } .body .facts { margin-top: .3rem; gap: .1rem 1rem; } details { margin: .3rem 0; } h2 { margin-top: 1.5rem; }
  .pill, .chip, svg, .banner, .attention { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  a { color: inherit; text-decoration: none; }
}
`
