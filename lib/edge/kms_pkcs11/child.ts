/**
 * The process with the module: reads requests from stdin, answers on descriptor 3, and ends with its input. A call into
 * the module blocks this process alone: the client can kill it, and its keys are not in this memory.
 */
import { readSync, writeSync } from 'node:fs'
import type { Bytes } from '../../core/bytes.ts'
import { parsePkcs11Name } from '../../core/pkcs11_uri.ts'
import { DamagedAnswer, statusName } from '../kms_call.ts'
import { type Cryptoki, loadCryptoki } from './cryptoki.ts'
import { failureOf } from './failure.ts'
import { bytesPart, FrameReader, formatFrame, textPart } from './frames.ts'
import { type Done, openService, type Service } from './service.ts'

const answers = 3

function send(parts: readonly (Bytes | string)[]): void {
  const frame = formatFrame(parts)
  for (let done = 0; done < frame.length; ) done += writeSync(answers, frame, done)
  frame.fill(0)
}

const answerOf = ({ output, token, serial, object, id }: Done): (Bytes | string)[] => [
  'done',
  output,
  token,
  serial,
  object,
  id,
]

/** Serves until the input ends. @param load the module of a path */
export function serve(load: (path: string) => Cryptoki = loadCryptoki): void {
  const reader = new FrameReader()
  const chunk = Buffer.alloc(1 << 16)
  let service: Service | undefined

  const handle = (request: readonly Bytes[]): (Bytes | string)[] => {
    const verb = textPart(request, 0)
    if (verb === 'open') {
      const name = parsePkcs11Name(textPart(request, 2))
      service = openService(load(textPart(request, 1)), name, bytesPart(request, 3))
      return ['open']
    }
    if (service === undefined) throw new Error('not open')
    return answerOf(
      verb === 'encrypt'
        ? service.encrypt(bytesPart(request, 1), bytesPart(request, 2))
        : service.decrypt(bytesPart(request, 1), bytesPart(request, 2)),
    )
  }

  for (;;) {
    const length = readSync(0, chunk, 0, chunk.length, null)
    if (length === 0) return
    for (const request of reader.push(chunk.subarray(0, length))) {
      let answer: (Bytes | string)[]
      try {
        answer = handle(request)
      } catch (thrown) {
        if (thrown instanceof DamagedAnswer) answer = ['damaged', thrown.message]
        else {
          const failure = failureOf(thrown)
          answer = ['failed', statusName(failure), failure.message, failure.hint ?? '']
        }
      }
      send(answer)
      for (const part of [...request, ...answer]) if (typeof part !== 'string') part.fill(0)
    }
    chunk.fill(0, 0, length)
  }
}
