/** The only door to google-auth-library, which is loaded when it is first needed. */
import { ZtError } from '../core/errors.ts'

/** For a server that looks at no credentials: without it a metadata server is looked for. */
export async function passThroughClient() {
  const { PassThroughClient } = await import('google-auth-library')
  return new PassThroughClient()
}

// The reason is left out: a JSON parser's message repeats a piece of the file, which holds a private key.
const noCredentials = (cause?: unknown): ZtError =>
  new ZtError('DENIED', 'Google: no usable credentials', {
    hint: 'run it on a machine of Google with a service account, or set GOOGLE_APPLICATION_CREDENTIALS to its key file',
    cause,
  })

/** Access tokens from the metadata server or GOOGLE_APPLICATION_CREDENTIALS, kept until they end. @throws DENIED */
export async function accessTokens(scope: string): Promise<() => Promise<string>> {
  const { GoogleAuth } = await import('google-auth-library')
  const auth = new GoogleAuth({ scopes: [scope] })
  return async () => {
    const token = await auth.getAccessToken().catch(cause => {
      throw noCredentials(cause)
    })
    if (token) return token
    throw noCredentials()
  }
}
