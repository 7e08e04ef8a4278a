/** The HTML report for people who do not see it, or see it otherwise: structure, names and contrast, each check seen red. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { parseRequirement } from '../../lib/core/proof/profile.ts'
import { verifyBundle } from '../../lib/core/proof/verify_bundle.ts'
import { style } from '../../lib/core/report/html_style.ts'
import { formatReport } from '../../lib/core/report/index.ts'
import { makeReport } from '../../lib/core/report/model.ts'
import {
  contrast,
  contrastFaults,
  parsePage,
  structureChecks,
  structureFaults,
  themesOf,
} from '../support/accessibility.ts'
import { type Bent, bundle, options } from '../support/bundle.ts'

const htmlOf = async (require: string, bent: Bent = {}): Promise<string> => {
  const made = bundle(bent)
  const verdict = await verifyBundle(
    made.files,
    options(made.trail, { requirement: parseRequirement(require) }),
  )
  return formatReport(makeReport(verdict, { tool: 'proof_suite 1', commit: 'test' }), 'html')
}

/** With a gap between anchors, so that every table and picture of a report is there. */
const late: Bent = {
  before: trail => {
    trail.seconds += 500
    trail.anchor()
  },
}

let failing: string
beforeAll(async () => {
  failing = await htmlOf('full', late)
})

test('a report that holds and one that does not have no fault', async () => {
  expect(structureFaults(await htmlOf('grade:recomputed'))).toEqual({})
  expect(structureFaults(failing)).toEqual({})
  expect(failing).toContain('Gaps longer than')
})

const mutations: [check: string, from: string | RegExp, to: string][] = [
  ['language', ' lang="en"', ''],
  ['title', /<title>[^<]*/, '<title>'],
  ['landmarks', /<(\/?)main/g, '<$1div'],
  ['landmarks', ' aria-label="Contents"', ''],
  ['landmarks', / aria-labelledby="overview"/, ''],
  ['headings', /<(\/?)h2/g, '<$1h5'],
  ['headings', /(<h2[^>]*>)[^<]*/, '$1'],
  ['ids', 'id="trail"', 'id="overview"'],
  ['references', 'href="#trail"', 'href="#nowhere"'],
  ['references', 'aria-labelledby="method"', 'aria-labelledby="nowhere"'],
  ['links', /(<a class="skip"[^>]*>)[^<]*/, '$1'],
  ['tables', /<caption>[^<]*<\/caption>/, ''],
  ['tables', ' scope="col"', ''],
  ['tables', /<th scope="row">[^<]*<\/th>/, ''],
  ['lists', /<ul class="chips"><li>/, '<ul class="chips"><span>x</span><li>'],
  ['lists', /<dl class="facts"><dt>[^<]*<\/dt>/, '<dl class="facts">'],
  ['details', /<summary>/, '<summary><a href="#trail">x</a>'],
  ['details', /(<details class="plain">)<summary>/, '$1<p>x</p><summary>'],
  ['pictures', ' role="img"', ''],
  ['pictures', /(<svg [^>]*)aria-label="[^"]*"/, '$1'],
  ['pictures', /<svg /, '<img src="x"><svg '],
  ['regions', /(role="region" )aria-label="[^"]*"/, '$1'],
  ['regions', '<pre tabindex="0"', '<pre'],
  ['regions', '<div class="scroll" tabindex="0"', '<div class="scroll"'],
  ['focus', 'tabindex="0"', 'tabindex="3"'],
  ['focus', /<span aria-hidden="true">/, '<span aria-hidden="true" tabindex="0">'],
  ['focus', /<a class="skip"[^>]*>[^<]*<\/a>/, ''],
  ['roles', 'role="region"', 'role="application"'],
]

describe('each check is seen red:', () => {
  test('there is a mutation for every one', () => {
    expect([...new Set(mutations.map(([check]) => check))].sort()).toEqual([...structureChecks].sort())
  })

  test.each(mutations)('%s: %p', (check, from, to) => {
    const bent = failing.replace(from, to)
    expect(bent).not.toBe(failing)
    expect(Object.keys(structureFaults(bent))).toContain(check)
  })

  test('markup that a browser would have to mend', () => {
    expect(() => parsePage('<p><b>x</p></b>')).toThrow('</p> closes <b>')
    expect(() => parsePage('<p>x')).toThrow('<p> is not closed')
  })
})

describe('contrast', () => {
  test('is enough in every theme: light, dark and paper', () => {
    expect(themesOf(style).length).toBe(3)
    expect(contrastFaults(style)).toEqual([])
  })

  test('is reckoned as WCAG does', () => {
    expect(contrast('#000', '#ffffff')).toBe(21)
    expect(contrast('#777777', '#fff').toFixed(2)).toBe('4.48')
  })

  test('that is too weak, in one theme alone, is found', () => {
    const faint = style.replace('--soft: #a9b4c1', '--soft: #4a5563')
    expect(contrastFaults(faint)).toEqual(
      ['page', 'card', 'well'].map(on =>
        expect.stringMatching(new RegExp(`^theme 1: soft on ${on} is [\\d.]+ : 1$`)),
      ),
    )
    expect(contrastFaults(`${style} p { color: #123456; }`)).toEqual(['#123456 is no colour of a theme'])
  })
})
