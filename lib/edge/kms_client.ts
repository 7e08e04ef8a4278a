/** The real client, wired for Google or for the emulator. Loads its library (tens of megabytes) only when called. */
import type { KeyManagementServiceClient } from '@google-cloud/kms'
import { reason, ZtError } from '../core/errors.ts'
import { passThroughClient } from './google_auth.ts'
import { kmsError } from './kms_call.ts'
import type { KmsConfig } from './kms_config.ts'

/** A client that has not connected yet. @param credentials file to use in place of Google's default ones */
export async function makeClient(
  config: KmsConfig,
  credentialsFile?: string,
): Promise<KeyManagementServiceClient> {
  // Set, it makes the client's libraries print every request: plaintext and tokens on stderr.
  delete process.env.GOOGLE_SDK_NODE_LOGGING
  const { KeyManagementServiceClient } = await import('@google-cloud/kms')
  const base = {
    fallback: false,
    // The record says gcp-kms, which is this one and not what GOOGLE_CLOUD_UNIVERSE_DOMAIN names.
    universeDomain: 'googleapis.com',
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc.max_receive_message_length': 1 << 20,
  }
  if (config.provider === 'gcp-kms')
    return new KeyManagementServiceClient({
      ...base,
      ...(credentialsFile === undefined ? {} : { keyFilename: credentialsFile }),
    })
  const [{ credentials }, authClient] = await Promise.all([import('@grpc/grpc-js'), passThroughClient()])
  return new KeyManagementServiceClient({
    ...base,
    apiEndpoint: config.host,
    port: config.port,
    sslCreds: credentials.createInsecure(),
    authClient,
    'grpc.enable_http_proxy': 0, // https_proxy must not carry a loopback call elsewhere
  })
}

const credentialsHint =
  'run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a credentials file'

function credentialsError(thrown: unknown, action: string): ZtError {
  const [first = ''] = reason(thrown).split('\n')
  // A JSON parser's message repeats a piece of the file, which holds a private key.
  const detail = /JSON/.test(first) ? 'the credentials file is not valid JSON' : first.slice(0, 300)
  return new ZtError('DENIED', `${action}: no usable credentials: ${detail}`, { hint: credentialsHint })
}

/**
 * Finds the credentials and prepares the channel, within `connectMs`. Returns whether a connection stands, to be asked
 * at any time. @throws DENIED where there are no credentials, UNREACHABLE where the search takes too long
 */
export async function prepareClient(
  client: KeyManagementServiceClient,
  config: KmsConfig,
  connectMs: number,
): Promise<() => boolean> {
  const action = `kms: connect to ${config.endpoint}`
  let timer: Timer | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const message = `${action}: looking for credentials took longer than ${connectMs} ms`
      reject(new ZtError('UNREACHABLE', message, { hint: `check the network, or ${credentialsHint}` }))
    }, connectMs)
  })
  try {
    const stub: unknown = await Promise.race([client.initialize(), late])
    if (!hasChannel(stub)) throw new ZtError('INTERNAL', `${action}: the client shows no channel`)
    return () => stub.getChannel().getConnectivityState(false) === ready
  } catch (thrown) {
    if (config.provider !== 'gcp-kms') throw kmsError(thrown, action)
    if (thrown instanceof ZtError) throw thrown
    throw credentialsError(thrown, action)
  } finally {
    clearTimeout(timer)
  }
}

/** grpc.connectivityState.READY; the enum itself would load the library. */
const ready = 2

interface Stub {
  getChannel(): { getConnectivityState(tryToConnect: boolean): number }
}

const hasChannel = (stub: unknown): stub is Stub =>
  typeof (stub as { getChannel?: unknown } | null)?.getChannel === 'function'
