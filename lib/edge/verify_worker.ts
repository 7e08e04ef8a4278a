/** One helper thread of a verification: answers what it is asked, in order, and says so where it cannot. */
import { tableDefinitions } from '../../sql/index.ts'
import { openObject } from '../core/audit/anchor_check.ts'
import type { TrustedLog } from '../core/audit/checkpoint.ts'
import { summarise, unpackEvents } from '../core/audit/chunk.ts'
import { parseExportEvents } from '../core/audit/export.ts'
import { checkSignature } from '../core/audit/signature_check.ts'
import { type Engine, noble } from '../core/engine.ts'
import { reason, ZtError } from '../core/errors.ts'
import type { TrustedCertificate } from '../core/trust.ts'
import { type EngineName, engineOf } from './native_engine.ts'
import type { Answer, Question } from './verify_pool.ts'

declare const self: Worker

let engine: Engine = noble
let log: TrustedLog = { origin: '', logKeys: [] }
let bySigner = new Map<string, TrustedCertificate>()

function answer(question: Question): Answer['value'] {
  switch (question.kind) {
    case 'start':
      engine = engineOf(question.engine as EngineName)
      log = question.trust
      bySigner = new Map(question.trust.certificates.map(c => [c.signer, c]))
      return tableDefinitions.size
    case 'chunk': {
      const { job } = question
      try {
        return summarise(
          'packed' in job ? unpackEvents(job.packed) : parseExportEvents(job.lines, job.what),
          engine,
        )
      } catch (thrown) {
        // lines that are no events are for the main thread to name
        if (thrown instanceof ZtError && thrown.code !== 'INTERNAL') return undefined
        throw thrown
      }
    }
    case 'anchors':
      return question.objects.map(bytes => openObject(bytes, log, engine))
    case 'signatures': {
      const began = performance.now()
      const faults = question.events.map(({ event, at }) => {
        try {
          return checkSignature(event, log.origin, bySigner, at, engine)
        } catch (thrown) {
          if (thrown instanceof ZtError && thrown.code === 'INTERNAL') throw thrown
          return { code: 'SIG_BAD' as const, what: reason(thrown) }
        }
      })
      return { faults, ms: performance.now() - began }
    }
  }
}

self.onmessage = ({ data }: MessageEvent<{ id: number; question: Question }>) => {
  try {
    self.postMessage({ id: data.id, value: answer(data.question) } satisfies Answer)
  } catch (thrown) {
    self.postMessage({ id: data.id, value: undefined, error: reason(thrown) } satisfies Answer)
  }
}
