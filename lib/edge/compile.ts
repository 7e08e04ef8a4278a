/** One entry to one standalone binary whose bytes depend on the sources, the packages and the version of Bun alone. */
import { relative } from 'node:path'
import type { BunPlugin } from 'bun'
import { ZtError } from '../core/errors.ts'

/** `entry`, `workers`: paths in the current folder. `outfile`: absolute; its base name is baked in. */
export interface Job {
  entry: string
  workers: string[]
  outfile: string
  commit: string
}

/**
 * mysql2 asks at load time for a package that nobody installs. Unresolved, a compiled binary looks for it in the
 * node_modules of the folder it is run from: whoever can write there would run code as its user, root included.
 */
const withoutCardinal: BunPlugin = {
  name: 'mysql2 without cardinal',
  setup(build) {
    const asked = /require\(`cardinal\$\{REQUIRE_TERMINATOR\}`\)/
    build.onLoad({ filter: /[\\/]mysql2[\\/]lib[\\/]helpers\.js$/ }, async ({ path }) => {
      const contents = await Bun.file(path).text()
      return { contents: contents.replace(asked, '({ highlight: text => text })'), loader: 'js' }
    })
  },
}

/** `lib/a.ts:3: what the compiler says` */
function where({ message, position }: BuildMessage | ResolveMessage): string {
  return position ? `${relative('.', position.file)}:${position.line}: ${message}` : message
}

/**
 * Compiles one entry of the current folder, which must be the sources' top: the bundle names its parts relative to it.
 * Returns the paths of all files that went in. @throws REFUSED
 */
export async function compile({ entry, workers, outfile, commit }: Job): Promise<string[]> {
  const result = await Bun.build({
    entrypoints: [entry, ...workers].map(path => `./${path}`),
    root: '.',
    target: 'bun',
    format: 'esm',
    bytecode: true,
    // A planted .env, bunfig.toml, tsconfig.json or package.json must not steer a binary that root runs.
    compile: {
      outfile,
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadTsconfig: false,
      autoloadPackageJson: false,
    },
    env: 'disable',
    allowUnresolved: [], // what is not in the binary would be looked for in the caller's folder
    define: {
      ZT_COMMIT: JSON.stringify(commit),
      // The compiler would put the build's own folder here, and two folders would give two binaries.
      __dirname: '"/app"',
      __filename: '"/app/x"',
      'process.env.NODE_ENV': '"production"',
    },
    plugins: [withoutCardinal],
    metafile: true,
    throw: false,
  })
  if (!result.success || !result.metafile) throw new ZtError('REFUSED', result.logs.map(where).join('\n'))
  return Object.keys(result.metafile.inputs).sort()
}
