/** A file of SQL, embedded as text: `import x from './x.sql' with { type: 'text' }`. */
declare module '*.sql' {
  const text: string
  export default text
}

/** Bun's lockfile, embedded in the same way. */
declare module '*.lock' {
  const text: string
  export default text
}
