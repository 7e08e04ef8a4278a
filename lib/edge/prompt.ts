/** Passphrases: from a private file, or typed unseen at a terminal. Never from arguments or the environment. */
import { createInterface } from 'node:readline'
import { fromUtf8 } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import { readPrivateFile } from './files.ts'

const shortest = 12
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
const control = /[\x00-\x1f\x7f]/

/** In NFC, so that every keyboard and system types the same bytes. @throws BAD_INPUT on control characters, or none at all */
function checked(text: string, what: string): string {
  if (text === '' || control.test(text))
    throw new ZtError('BAD_INPUT', `${what}: expected one line of text without control characters`, {
      hint: 'write the passphrase, and nothing else, on one line',
    })
  return text.normalize('NFC')
}

/** @throws BAD_INPUT where a passphrase is too short to be a new one */
export function checkNewPassphrase(passphrase: string): string {
  if ([...passphrase].length < shortest)
    throw new ZtError('BAD_INPUT', `the passphrase is shorter than ${shortest} characters`, {
      hint: 'take several random words, and keep them where the folder is not',
    })
  return passphrase
}

export interface PassphraseSource {
  /** A private file with one line. */
  file?: string | undefined
  /** What the prompt asks for. */
  prompt: string
  /** Ask twice, and refuse a short one: it will be needed for years. */
  isNew?: boolean
}

/** @throws as readPrivateFile; USAGE without a file or a terminal; BAD_INPUT */
export async function readPassphrase({ file, prompt, isNew = false }: PassphraseSource): Promise<string> {
  const passphrase =
    file === undefined
      ? await askPassphrase(prompt, isNew)
      : checked(
          fromUtf8(readPrivateFile(file, 'passphrase file'), file).replace(/\r?\n$/, ''),
          `passphrase file ${file}`,
        )
  return isNew ? checkNewPassphrase(passphrase) : passphrase
}

/** Whether a person says y at the terminal. Ctrl-C ends the process as a signal does; Ctrl-D is no. */
export async function askYes(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT')) // readline takes the key for itself
  try {
    const answer = await new Promise<string>(resolve => {
      terminal.once('close', () => resolve(''))
      terminal.question(question, resolve)
    })
    return answer.trim().toLowerCase() === 'y'
  } finally {
    terminal.close()
  }
}

async function askPassphrase(prompt: string, twice: boolean): Promise<string> {
  if (!process.stdin.isTTY)
    throw new ZtError('USAGE', 'no passphrase: there is no terminal to ask on', {
      hint: 'name a private file with --passphrase-file FILE',
    })
  const keyboard = openKeyboard()
  try {
    const first = checked(await keyboard.ask(prompt), 'passphrase')
    if (twice) {
      checkNewPassphrase(first)
      if ((await keyboard.ask('Again')).normalize('NFC') !== first)
        throw new ZtError('BAD_INPUT', 'the two passphrases differ', { hint: 'run it again' })
    }
    return first
  } finally {
    keyboard.close()
  }
}

const enter = new Set(['\r', '\n'])
const erase = new Set(['\x7f', '\b'])
const ctrl = { c: '\x03', d: '\x04', u: '\x15' }

/** The terminal in raw mode: nothing that is typed is shown, and Ctrl-C is a character that we must act on. */
function openKeyboard(): { ask(prompt: string): Promise<string>; close(): void } {
  const { stdin } = process
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let typed: string[] = [] // a pasted line may bring what the next question asks for
  let wake: (thrown?: unknown) => void = () => undefined
  const onData = (chunk: Buffer) => {
    try {
      typed.push(...decoder.decode(chunk, { stream: true }))
      wake()
    } catch {
      wake(new ZtError('BAD_INPUT', 'passphrase: not UTF-8', { hint: 'set the terminal to UTF-8' }))
    }
  }
  const restore = () => {
    stdin.setRawMode(false)
    stdin.off('data', onData)
    stdin.pause()
  }
  const forget = onExit(restore)
  stdin.setRawMode(true)
  stdin.on('data', onData)
  const more = () =>
    new Promise<void>((resolve, reject) => {
      wake = thrown => (thrown === undefined ? resolve() : reject(thrown))
    })
  return {
    async ask(prompt) {
      process.stderr.write(`${prompt}: `)
      try {
        const line: string[] = []
        for (;;) {
          const char = typed.shift()
          if (char === undefined) await more()
          else if (enter.has(char)) return line.join('')
          else if (char === ctrl.c) {
            process.kill(process.pid, 'SIGINT')
            await more() // the signal ends the process
          } else if (char === ctrl.d && line.length === 0)
            throw new ZtError('INTERRUPTED', 'no passphrase was given', { hint: 'run it again' })
          else if (erase.has(char)) line.pop()
          else if (char === ctrl.u) line.length = 0
          else line.push(char)
        }
      } finally {
        process.stderr.write('\n')
      }
    },
    close() {
      forget()
      restore()
      typed = []
    },
  }
}
