/** OpenSSL's own command as the second opinion on everything X.509. */
export function openssl(...args: string[]): { ok: boolean; out: string } {
  const child = Bun.spawnSync(['openssl', ...args])
  return { ok: child.exitCode === 0, out: `${child.stdout}${child.stderr}`.trim() }
}

/** Chain, dates, purpose, revocation and RFC 5280's letter. */
export const verify = (
  dir: string,
  purpose: 'sslserver' | 'sslclient',
  certificate: string,
  ca = `${dir}/ca.pem`,
) =>
  openssl(
    'verify',
    '-x509_strict',
    '-crl_check_all',
    '-purpose',
    purpose,
    '-CAfile',
    ca,
    '-CRLfile',
    `${dir}/crl.pem`,
    certificate,
  )
