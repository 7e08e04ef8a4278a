/**
 * The X.509 library, after the polyfill that it wants. By `require`, which runs them in this order: of two CommonJS
 * packages in one graph of imports Bun may run the later one first, whichever was read sooner from the disk.
 */
require('reflect-metadata')

export const x509: typeof import('@peculiar/x509') = require('@peculiar/x509')
