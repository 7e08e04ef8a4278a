/** Texts and data of mysqld's part of the host. */

/** The last folder that an option file includes: what stands there wins over all the rest. */
export const lastOptionFolder = (optionFile: string): string | null =>
  [...optionFile.matchAll(/^!includedir\s+(\S+?)\/*\s*$/gm)].at(-1)?.[1] ?? null
