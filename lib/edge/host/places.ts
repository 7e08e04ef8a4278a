import { resolve } from 'node:path'
import { installDefaults } from '../install/target.ts'
import { optionFolder } from './setup.ts'

export interface PlaceFlags {
  layer?: 'host' | 'database'
  socket?: string
  confDir?: string
}

/** The server's socket and its folder of option files: flags over environment over what the host says. */
export const placesOf = ({ layer, socket, confDir }: PlaceFlags): { socket: string; confDir: string } => ({
  socket: socket ?? process.env.MYSQL_SOCKET ?? installDefaults.socket,
  confDir: resolve(confDir ?? (layer === 'database' ? installDefaults.confDir : optionFolder())),
})
