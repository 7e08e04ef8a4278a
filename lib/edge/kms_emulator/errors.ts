import { type StatusName, statusNumber } from '../kms_call.ts'

/** An answer of the service that is not OK. `details` go to the client as they are. */
export class RpcError extends Error {
  readonly code: number
  readonly details: string

  constructor(status: StatusName, details: string) {
    super(details)
    this.code = statusNumber(status)
    this.details = details
  }
}
