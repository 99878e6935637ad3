/** Why we reset a stream, on the wire (RFC 9113 section 7). */
import type { StreamReset } from '../../contract/stream-end.ts'
import { ErrorCode } from '../../wire/http2/protocol.ts'

export const RESET_CODES: Record<StreamReset, number> = {
  no_error: ErrorCode.NO_ERROR,
  cancel: ErrorCode.CANCEL,
  connect_error: ErrorCode.CONNECT_ERROR,
  excessive_load: ErrorCode.ENHANCE_YOUR_CALM,
  internal_error: ErrorCode.INTERNAL_ERROR,
}
