/** Everything that a definition turns into, in the order in which it is made. */
import type { TableDefinition } from '../tables.ts'
import { batchLimit, createBatchProcedure } from './batch.ts'
import { createTable } from './columns.ts'
import { createProcedure, type Definitions } from './procedures.ts'
import { createRewrapProcedure } from './rewrap.ts'
import type { SqlObject } from './text.ts'
import { createTriggers } from './triggers.ts'
import { createView } from './view.ts'

export type { Definitions } from './procedures.ts'
export type { SqlObject } from './text.ts'

/** @throws Error where a parent is not defined, BAD_INPUT where a name cannot stand in SQL */
export function generateObjects(def: TableDefinition, all: Definitions, debug = false): SqlObject[] {
  const { create, createMany, update, erase, retire, rewrapMany } = def.procedures
  return [
    { kind: 'table', name: def.table, sql: createTable(def) },
    ...createTriggers(def),
    ...(def.view ? [createView(def, def.view)] : []),
    ...(create ? [createProcedure(def, 'create', create, all, debug)] : []),
    ...(createMany ? [createBatchProcedure(def, createMany, all, debug)] : []),
    ...(update ? [createProcedure(def, 'update', update, all, debug)] : []),
    ...(erase ? [createProcedure(def, 'erase', erase, all, debug)] : []),
    ...(retire ? [createProcedure(def, 'retire', retire, all, debug)] : []),
    ...(rewrapMany ? [createRewrapProcedure(def, rewrapMany, batchLimit, debug)] : []),
  ]
}
