/** Why a header block cannot be decoded. */
import { EndpointError } from '../../errors.ts'

/**
 * RFC 9113 section 4.3 has one answer to all of them, COMPRESSION_ERROR for the whole connection; nginx gives others to
 * some: FRAME_SIZE_ERROR to `truncated`, ENHANCE_YOUR_CALM to `long_string`.
 */
export type HpackFault =
  /** The block ends inside a field. */
  | 'truncated'
  /** An integer in more bytes than any sensible one takes. */
  | 'long_integer'
  /** Index 0, or one beyond both tables. */
  | 'bad_index'
  /** EOS inside a string, more than 7 bits of padding, or padding that is not the beginning of EOS. */
  | 'bad_huffman'
  /** A table size above the maximum, or a change of size behind a field. */
  | 'bad_table_size'
  /** A string whose length as sent is above the limit that the decoder was given. */
  | 'long_string'

/** A decoding error of RFC 7541, with the code `malformed`. Nothing more can be read from the connection. */
export class HpackError extends EndpointError {
  readonly fault: HpackFault

  constructor(fault: HpackFault) {
    super('malformed', `header block: ${fault.replace('_', ' ')}`)
    this.fault = fault
  }
}
