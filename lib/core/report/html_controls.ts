/** The controls of the HTML report: a matrix to look at, and each one to open. */
import { html, lines, type Markup, type Value } from './html_markup.ts'
import type { Report, ReportControl, ReportObservation } from './schema.ts'
import { byLayer, gradeMeans, layerTitles, moment, verdictWords } from './words.ts'

type Shown = keyof typeof verdictWords

const signs: Record<Shown, string> = {
  pass: '✓',
  fail: '✕',
  error: '!',
  'not-applicable': '–',
  exception: '§',
}
const classes: Record<Shown, string> = {
  pass: 'pass',
  fail: 'fail',
  error: 'error',
  'not-applicable': 'na',
  exception: 'exception',
}

export const pill = (verdict: Shown, text = ''): Markup =>
  html`<span class="pill ${classes[verdict]}"><span aria-hidden="true">${signs[verdict]} </span>${text || verdictWords[verdict]}</span>`

export const idOf = (control: string): string => `control-${control}`

const chip = ({ id, layer, verdict }: ReportControl): Markup =>
  html`<li><a class="chip ${classes[verdict]}" href="#${idOf(id)}"><span aria-hidden="true">${signs[verdict]}</span><span>${id.replace(`${layer}.`, '')}${verdict === 'pass' ? html`<span class="hidden">: pass</span>` : html` <b>${verdictWords[verdict]}</b>`}</span></a></li>`

/** One line a layer, one chip a control. */
export const matrix = (report: Report): Markup => html`<table class="matrix">
<caption>Every control by layer: ✓ pass, ✕ FAIL, ! ERROR (could not be observed), – n/a (not applicable). Choose one to see what was observed.</caption>
<thead><tr><th scope="col">layer</th><th scope="col">controls</th></tr></thead>
<tbody>${byLayer(report.controls).map(
  ([
    layer,
    controls,
  ]) => html`<tr><th scope="row">${layerTitles[layer]}</th><td><ul class="chips">${controls.map(chip)}</ul></td></tr>
`,
)}</tbody>
</table>`

const fact = (name: string, value: Value): Markup => html`<dt>${name}</dt><dd>${value}</dd>`

function observed(o: ReportObservation, control: string): Markup {
  const long = o.excerpt.length > 700 || o.excerpt.split('\n').length > 9
  return html`<h4>Observed: ${o.id}</h4>
<p class="soft">As ${o.identity}; collected on ${o.host}, ${moment(o.time)}; grade ${o.grade}. Whole in the bundle: <code>${o.path}</code>.</p>
<p><code>${o.command}</code></p>
<pre${long ? html` class="long"` : null} tabindex="0" role="region" aria-label="Observation ${o.id} for ${control}">${o.failed ? 'could not run: ' : ''}${lines(o.excerpt)}${o.clipped ? '\n… (clipped)' : ''}</pre>${long ? html`<p class="onpaper soft">On paper in part.</p>` : null}`
}

const recomputed = ({ trail }: Report): Markup =>
  html`<h4>Observed</h4><p>Recomputed by the verifier from the ${trail.events} events, ${trail.rows} rows and ${trail.anchors} anchors; no probe's word is in it.</p>`

function one(control: ReportControl, report: Report): Markup {
  const { id, verdict, met, grade } = control
  const seen = report.observations.filter(o => control.observations.includes(o.id))
  const unmet = met ? '' : ` unmet ${classes[verdict]}`
  return html`<details id="${idOf(id)}" class="control${unmet}"${met ? null : html` open`}>
<summary>${pill(verdict)}<span class="what"><b>${id}</b><span>${control.claim}</span></span><span class="grade">grade: ${grade}</span></summary>
<div class="body"><dl class="facts">
${fact('Why', control.reason)}
${control.hint === null ? null : fact('What to do', control.hint)}
${fact('Standard', control.standard.join(', '))}
${fact('Grade', html`<b>${grade}</b>: ${gradeMeans[grade]}`)}
${fact('Status', html`${control.status}; ${control.required ? 'asked for' : 'not asked for'} here`)}
${fact('Enforced by', control.enforcedBy)}
${
  control.dependsOn.length === 0
    ? null
    : fact(
        'Rests on',
        control.dependsOn.map((name, i) => html`${i > 0 ? ', ' : ''}<a href="#${idOf(name)}">${name}</a>`),
      )
}
</dl>
${seen.length > 0 ? seen.map(o => observed(o, id)) : control.grade === 'recomputed' || control.layer === 'audit' ? recomputed(report) : html`<h4>Observed</h4><p>Nothing.</p>`}
</div></details>
`
}

export const controlList = (report: Report): Markup =>
  html`${byLayer(report.controls).map(
    ([layer, controls]) => html`<h3 id="layer-${layer}">${layerTitles[layer]}</h3>
${controls.map(control => one(control, report))}`,
  )}`

/** What breaks the verdict, before everything else. */
export const attention = (controls: readonly ReportControl[]): Markup =>
  html`${controls.map(
    c => html`<div class="card attention ${classes[c.verdict]}"><h3>${pill(c.verdict)} <a href="#${idOf(c.id)}">${c.id}</a></h3>
<p>${c.claim}.</p><p><b>Why:</b> ${c.reason}</p>${c.hint === null ? null : html`<p><b>What to do:</b> ${c.hint}</p>`}</div>
`,
  )}`
