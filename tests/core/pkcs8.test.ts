import { expect, test } from 'bun:test'
import { generateKeyPairSync } from 'node:crypto'
import { p256 } from '@noble/curves/nist.js'
import { formatPem, parsePem } from '../../lib/core/pem.ts'
import { p256Secret } from '../../lib/core/pkcs8.ts'
import { codeOf, spoilt } from '../support/envelope.ts'

const nodeKey = () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    pem: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    spki: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })),
  }
}

test('reads the keys of node and WebCrypto', async () => {
  const { pem, spki } = nodeKey()
  expect(p256.getPublicKey(p256Secret(pem, 'key'), false)).toEqual(spki.subarray(-65))
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ])
  const der = new Uint8Array(await crypto.subtle.exportKey('pkcs8', pair.privateKey))
  const raw = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey))
  expect(p256.getPublicKey(p256Secret(formatPem('PRIVATE KEY', der), 'key'), false)).toEqual(raw)
})

test('refuses another curve, another algorithm, an encrypted or SEC1 key', () => {
  const pems = [
    generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'pem', type: 'pkcs8' }),
    generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }),
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'sec1' }),
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
      format: 'pem',
      type: 'pkcs8',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    }),
    '',
  ]
  for (const pem of pems) expect(codeOf(() => p256Secret(String(pem), 'key'))).toBe('BAD_FORMAT')
})

test('refuses any spoilt byte or length', () => {
  const der = parsePem(nodeKey().pem, 'PRIVATE KEY', 'key')
  for (const bad of spoilt(der))
    expect(codeOf(() => p256Secret(formatPem('PRIVATE KEY', bad), 'key'))).toBe('BAD_FORMAT')
})
