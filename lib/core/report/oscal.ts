/**
 * NIST OSCAL assessment-results 1.2.1. There is no state for a check that could not run: such a control has its
 * observations and no finding, and its row says so among the properties. Identifiers are version 5 UUIDs of what they
 * name, so that two prints of one verdict are the same document.
 */
import { sha1 } from '@noble/hashes/legacy.js'
import { concat, utf8, uuidBytes, uuidText } from '../bytes.ts'
import type { Report, ReportControl, ReportObservation } from './schema.ts'
import { gradeMeans, line, sentence, tally } from './words.ts'

const oscalVersion = '1.2.1'
/** Of our properties. A name, not an address. */
const ns = 'urn:ztmysql:oscal'
/** Made once at random: the name space of our version 5 UUIDs. */
const nameSpace = uuidBytes('5c0bd1f5-3a3f-4f0e-9d5b-6f1f3a6e7f10')

/** RFC 9562 §5.5. */
export function uuidV5(name: string): string {
  const hash = sha1(concat(nameSpace, utf8(name.toWellFormed()))).slice(0, 16)
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80
  return uuidText(hash)
}

/** OSCAL's strings neither begin nor end with white space, and are not empty. */
const text = (value: string): string => line(value).trim() || '-'
/** Its markup is Markdown: nothing of the bundle's may be any. */
const markup = (value: string): string => text(value).replace(/[\\`*_[\]<>{}]/g, mark => `\\${mark}`)

const prop = (name: string, value: string) => ({ name, ns, value: text(value) })

const methods: Record<ReportControl['grade'], string> = {
  recomputed: 'EXAMINE',
  'off-host': 'EXAMINE',
  network: 'TEST',
  host: 'EXAMINE',
}

export function oscalOf(report: Report): object {
  const { bundle, judged } = report
  const id = (name: string): string => uuidV5(`${bundle.digest} ${judged.at} ${report.requirement} ${name}`)
  const subject = { 'subject-uuid': id('component'), type: 'component' }
  const start = bundle.opened ?? bundle.created
  const collected = bundle.closed ?? bundle.created

  const observation = (o: ReportObservation) => ({
    uuid: id(`observation ${o.id}`),
    title: text(o.id),
    description: markup(
      o.failed ? `The probe could not run: ${o.excerpt}` : `As ${o.identity}: ${o.command}`,
    ),
    props: [prop('grade', o.grade), prop('host', o.host)],
    methods: [methods[o.grade]],
    types: ['control-objective'],
    subjects: [subject],
    'relevant-evidence': [{ href: `#${id('bundle')}`, description: markup(`In the bundle: ${o.path}`) }],
    collected: o.time,
    ...(o.failed ? {} : { remarks: markup(o.excerpt) }),
  })

  /** What the verifier saw by itself, for a control that rests on no observation of the collector. */
  const recomputed = (c: ReportControl) => ({
    uuid: id(`recomputed ${c.id}`),
    title: text(`${c.id}, by the verifier`),
    description: markup(c.reason),
    props: [prop('grade', c.grade), prop('verdict', c.verdict)],
    methods: ['EXAMINE'],
    types: ['control-objective'],
    subjects: [subject],
    'relevant-evidence': [
      { href: `#${id('bundle')}`, description: 'The trail in the bundle and the anchors of the auditor' },
    ],
    collected,
  })

  const relatedTo = (c: ReportControl): string[] =>
    c.observations.length > 0
      ? c.observations.map(name => id(`observation ${name}`))
      : [id(`recomputed ${c.id}`)]

  const finding = (c: ReportControl) => ({
    uuid: id(`finding ${c.id}`),
    title: text(c.id),
    description: markup(c.claim),
    props: [
      prop('grade', c.grade),
      prop('status', c.status),
      prop('required', String(c.required)),
      ...c.standard.map(standard => prop('standard', standard)),
    ],
    target: {
      type: 'objective-id',
      'target-id': c.id,
      description: markup(c.reason),
      status: { state: c.verdict === 'pass' ? 'satisfied' : 'not-satisfied', reason: c.verdict },
    },
    'related-observations': relatedTo(c).map(uuid => ({ 'observation-uuid': uuid })),
  })

  const decided = report.controls.filter(({ verdict }) => verdict === 'pass' || verdict === 'fail')
  const undecided = report.controls.filter(
    ({ verdict }) => verdict === 'error' || verdict === 'not-applicable',
  )
  const observations = [
    ...report.observations.map(observation),
    ...report.controls.filter(c => c.observations.length === 0).map(recomputed),
  ]
  return {
    'assessment-results': {
      uuid: id('assessment-results'),
      metadata: {
        title: text(`Zero-Trust MySQL, log ${bundle.origin}`),
        'last-modified': judged.at,
        version: judged.at,
        'oscal-version': oscalVersion,
        props: [prop('tool', judged.tool), prop('commit', judged.commit)],
      },
      'import-ap': {
        href: `#${id('plan')}`,
        remarks: 'The plan is the list of controls that the tool carries: proof_suite controls.',
      },
      results: [
        {
          uuid: id('result'),
          title: text(`Verdict: ${sentence(report)}`),
          description: markup(
            `${tally(report)}; asked for: ${report.requirement}. Each observation was judged anew from the bundle, the trust folder number ${report.trust.serial} and the auditor's own copy of the anchors.`,
          ),
          start,
          end: collected,
          props: [
            prop('ok', String(report.ok)),
            prop('requirement', report.requirement),
            prop('origin', bundle.origin),
            prop('nonce', bundle.nonce),
            prop('manifest-sha256', bundle.digest),
            ...undecided.map(c => prop(`undecided-${c.verdict}`, c.id)),
          ],
          'local-definitions': {
            components: [
              {
                uuid: id('component'),
                type: 'software',
                title: 'MySQL deployment',
                description: markup(`Host ${bundle.host}, log ${bundle.origin}`),
                status: { state: 'operational' },
              },
            ],
          },
          'reviewed-controls': {
            'control-selections': [
              { 'include-controls': report.controls.map(c => ({ 'control-id': c.id })) },
            ],
            'control-objective-selections': [
              { 'include-objectives': report.controls.map(c => ({ 'objective-id': c.id })) },
            ],
          },
          observations,
          // an empty list is none
          ...(decided.length === 0 ? {} : { findings: decided.map(finding) }),
        },
      ],
      'back-matter': {
        resources: [
          {
            uuid: id('plan'),
            title: 'Plan: the controls of the tool',
            description: markup(
              report.controls.map(c => `${c.id} (${gradeMeans[c.grade]}): ${c.claim}`).join('; '),
            ),
          },
          {
            uuid: id('bundle'),
            title: 'The evidence bundle',
            description: markup(
              `Collected by ${bundle.tool} (${bundle.commit}); SHA-256 of its manifest.json: ${bundle.digest}`,
            ),
          },
        ],
      },
    },
  }
}

export const formatOscal = (report: Report): string => `${JSON.stringify(oscalOf(report), null, 2)}\n`
