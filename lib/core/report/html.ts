/** The report as one HTML file that opens from disk: no script, no network, nothing of the bundle's but text. */
import { certificateChart, trailChart } from './html_charts.ts'
import { attention, controlList, matrix, pill } from './html_controls.ts'
import { html, Markup, type Value } from './html_markup.ts'
import { style } from './html_style.ts'
import type { Report } from './schema.ts'
import { duration, gradeMeans, moment, pinWords, tally, unmet, verdictWords } from './words.ts'

const table = (
  caption: string,
  head: [name: string, number?: boolean][],
  rows: Value[][],
  kind = 'auto',
): Markup =>
  html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table class="${kind}"><caption>${caption}</caption>
<thead><tr>${head.map(([name, number]) => html`<th scope="col"${number ? html` class="number"` : null}>${name}</th>`)}</tr></thead>
<tbody>${rows.map(
    cells => html`<tr>${cells.map((cell, i) => html`<td${head[i]?.[1] ? html` class="number"` : null}>${cell}</td>`)}</tr>
`,
  )}</tbody></table></div>`

const section = (id: string, title: string, ...body: Value[]): Markup =>
  html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>
${body}</section>
`

function banner(report: Report): Markup {
  const { bundle, counts, ok } = report
  const bad = unmet(report)
  const tolerated = report.controls.filter(
    c => c.met && (c.verdict === 'fail' || c.verdict === 'error'),
  ).length
  const missed = bad.length + report.unknownObservations.length
  const title = ok
    ? 'Everything asked for holds'
    : `Does not hold: ${missed === 1 ? 'one control falls' : `${missed} controls fall`} short`
  const pills: [Parameters<typeof pill>[0], number, string][] = [
    ['pass', counts.pass, 'pass'],
    ['fail', counts.fail, 'fail'],
    ['error', counts.error, 'error'],
    ['not-applicable', counts.notApplicable, 'not applicable'],
  ]
  return html`<header class="banner ${ok ? 'holds' : 'fails'}"><div class="wrap">
<p class="kind">Proof report on <code>${bundle.origin}</code></p>
<h1><span aria-hidden="true">${ok ? '✓' : '✕'} </span>${title}</h1>
<p>Host ${bundle.host}, ${bundle.opened === null ? 'without an opening anchor' : `observed between ${moment(bundle.opened)} and ${bundle.closed === null ? '(no closing anchor)' : moment(bundle.closed)}`}. Asked for: <code>${report.requirement}</code>.</p>
${
  tolerated === 0
    ? null
    : html`<p><b>${tolerated === 1 ? 'One control that was not asked for does' : `${tolerated} controls that were not asked for do`} not pass.</b></p>
`
}<ul class="tally" aria-label="Controls by verdict">${pills.map(([verdict, n, word]) => html`<li>${pill(n === 0 ? 'not-applicable' : verdict, `${n} ${word}`)}</li>`)}</ul>
<nav aria-label="Contents"><ul>
${ok ? null : html`<li><a href="#attention">What breaks it</a></li>`}
<li><a href="#overview">Overview</a></li><li><a href="#controls">Controls</a></li><li><a href="#trail">Trail and anchors</a></li><li><a href="#certificates">Certificates</a></li><li><a href="#baselines">Baselines</a></li><li><a href="#method">How it was judged</a></li>
</ul></nav></div></header>
`
}

function overview(report: Report): Markup {
  const { bundle, judged, trust, trail } = report
  const facts: [string, Value][] = [
    ['Log', html`<code>${bundle.origin}</code>`],
    ['Host', `${bundle.host}, collected by ${bundle.tool} (${bundle.commit})`],
    [
      'Freshness',
      html`between the anchors of ${bundle.opened === null ? 'nowhere' : moment(bundle.opened)} and ${bundle.closed === null ? 'nowhere' : moment(bundle.closed)}, by the store's clock`,
    ],
    [
      'Nonce',
      html`<code>${bundle.nonce}</code><br>${bundle.nonceAsked ? 'named by the auditor' : 'chosen by the collector: the auditor named none'}`,
    ],
    [
      'Manifest',
      html`<code>${bundle.digest}</code><br>SHA-256 of manifest.json, which lists ${bundle.files - 2} files`,
    ],
    ...(bundle.signer === null ? [] : ([['Countersigned', bundle.signer]] as [string, Value][])),
    [
      'Trail',
      `${trail.events} events, ${trail.rows} rows, ${trail.anchors} anchors, ${trail.signaturesChecked} signatures of clients checked`,
    ],
    ['Judged', `${moment(judged.at)}, by ${judged.tool} (${judged.commit})`],
    ['Trust folder', html`number ${trust.serial}, of ${moment(trust.time)}<br>${pinWords(report)}`],
  ]
  return section(
    'overview',
    'Overview',
    html`<div class="card">${matrix(report)}</div>
<div class="card" style="margin-top:.8rem"><dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></div>
`,
  )
}

function trail(report: Report): Markup {
  const { anchors, findings } = report
  const chart = trailChart(report)
  const gaps =
    anchors.gaps.length === 0
      ? html`<p>No gap: each of the ${anchors.count} anchors came within ${duration(anchors.limitSeconds)} of the one before, and no number is missing.</p>`
      : table(
          `Gaps longer than ${duration(anchors.limitSeconds)}, or with numbers missing`,
          [
            ['after'],
            ['before'],
            ['length'],
            ['numbers missing', true],
            ['first event covered only afterwards', true],
          ],
          anchors.gaps.map(g => [
            `anchor ${g.after}`,
            `anchor ${g.before}`,
            duration(g.seconds),
            g.missing,
            g.firstEvent,
          ]),
        )
  const newest = anchors.points.slice(-20).reverse()
  return section(
    'trail',
    'Trail and anchors',
    html`<figure class="card"><div class="scroll" tabindex="0" role="region" aria-label="Picture of trail and anchors">${chart}</div><figcaption>Above, how the trail grew; below, when the store received each anchor. What was stored since the last anchor before a gap could be rewritten until the next one came.</figcaption></figure>
${gaps}
<details class="plain"><summary>The newest ${newest.length} anchors as a table</summary><div class="body">${table(
      'Anchors of the auditor’s own copy',
      [['anchor', true], ['events covered', true], ['made, by the host'], ['received, by the store']],
      newest.map(p => [
        p.number,
        p.size,
        moment(p.made),
        p.received === null ? '(no time kept)' : moment(p.received),
      ]),
    )}</div></details>
<h3>Findings</h3>
${
  findings.length === 0
    ? html`<p>None: chain, tree, signatures, rows and anchors agree.</p>`
    : table(
        'What the verifier found in the trail; places that are not shown are in the JSON report',
        [['finding'], ['times', true], ['means'], ['where, and what']],
        [...new Set(findings.map(({ code }) => code))].map(code => {
          const these = findings.filter(f => f.code === code)
          const { severity, means } = these[0] ?? { severity: '', means: '' }
          const kind = severity === 'fail' ? 'fail' : 'not-applicable'
          return [
            html`<code>${code}</code><br>${pill(kind, severity)}`,
            report.findingCounts[code] ?? these.length,
            means,
            html`<ul class="places">${these.slice(0, 5).map(f => html`<li><b>${f.where}</b>: ${f.what}</li>`)}${these.length > 5 ? html`<li>and ${(report.findingCounts[code] ?? these.length) - 5} more</li>` : null}</ul>`,
          ]
        }),
      )
}
`,
  )
}

const certificates = (report: Report): Markup =>
  section(
    'certificates',
    'Certificates',
    html`<figure class="card"><div class="scroll" tabindex="0" role="region" aria-label="Picture of certificates">${certificateChart(report)}</div><figcaption>Time left, soonest first, on a scale from a day to ten years. Certificates of probes live a day by design.</figcaption></figure>
<details class="plain"><summary>All ${report.certificates.length} as a table</summary><div class="body">${table(
      'Certificates and revocation lists',
      [['name'], ['role'], ['known from'], ['state'], ['until'], ['days left', true]],
      report.certificates.map(c => [
        c.name,
        c.role,
        c.source === 'trust' ? 'trust folder' : 'the bundle alone',
        c.state,
        moment(c.notAfter),
        c.days,
      ]),
    )}</div></details>
`,
  )

const baselines = (report: Report): Markup =>
  section(
    'baselines',
    'Outside baselines',
    html`<p>By their own identifiers; the titles are ours. A row passes by the controls and settings that show it. An <em>exception</em> is done otherwise on purpose, for the reason given; <em>n/a</em> says what is not shown.</p>
${report.baselines.map(({ title, source, rows }) => {
  const count = (kind: string): number => rows.filter(r => r.verdict === kind).length
  return html`<details class="plain"><summary><b>${title}</b>: ${count('pass')} pass, ${count('fail') + count('error')} fail, ${count('exception')} exceptions, ${count('not-applicable')} not shown</summary><div class="body"><p class="soft">${source}</p>${table(
    title,
    [['row'], ['verdict'], ['what'], ['why'], ['shown by']],
    rows.map(r => [r.id, pill(r.verdict, verdictWords[r.verdict]), r.title, r.reason, r.by.join(', ')]),
    'rows',
  )}</div></details>
`
})}`,
  )

function method(report: Report): Markup {
  const grades = [...new Set(report.controls.map(({ grade }) => grade))]
  return section(
    'method',
    'How it was judged',
    html`<p>The verifier took keys, certificates and anchors from the auditor, never from the bundle. It checked that an event under the closing anchor names this manifest, replayed the trail, and judged each raw observation anew. Nothing in this page is a verdict that the bundle brought along.</p>
<dl class="facts">${grades.map(grade => html`<dt>${grade}</dt><dd>${gradeMeans[grade]}</dd>`)}</dl>
<p>To judge again, on any machine, without network:</p>
<pre tabindex="0" role="region" aria-label="Command">proof_suite verify proof_bundle.tar.gz --trust trust --anchors anchors \\
  --require ${report.requirement} --nonce ${report.bundle.nonce}</pre>
`,
  )
}

export function formatHtml(report: Report): string {
  const bad = unmet(report)
  const strangers = report.unknownObservations
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>${report.ok ? 'Holds' : 'Does not hold'}: proof report on ${report.bundle.origin}</title>
<style>${new Markup(style)}</style>
</head>
<body>
<a class="skip" href="#controls">Skip to the controls</a>
${banner(report)}<main class="wrap">
${
  report.ok
    ? null
    : section(
        'attention',
        'What breaks it',
        attention(bad),
        strangers.length === 0
          ? null
          : html`<div class="card attention error"><h3>${pill('error')} unknown observations</h3><p>No control of this release looks at ${strangers.join(', ')}. A newer collector made them, or somebody else.</p><p><b>What to do:</b> judge the bundle with the release that collected it.</p></div>`,
      )
}${overview(report)}${section('controls', 'Controls', controlList(report))}${trail(report)}${certificates(report)}${baselines(report)}${method(report)}
<footer>${tally(report)}. Made by ${report.judged.tool} (${report.judged.commit}), ${moment(report.judged.at)}.</footer>
</main>
</body>
</html>
`
  return page.text
}
