/** HTTP/2 with the windows that clients of the reference endpoint know. */
import type { Http2Options } from '../../src/transport/http2/announcement.ts'

/** Those of the official sample, for an endpoint whose own table is left out with `protocols: ['http1']`. */
export const OFFICIAL_HTTP2 = `[listen_protocols.http2]
initial_connection_window_size = 8388608
initial_stream_window_size = 131072
max_concurrent_streams = 1000
max_frame_size = 16384
header_table_size = 65536
`

export const HTTP2_OPTIONS: Http2Options = {
  announced: {
    maxConcurrentStreams: 1000,
    streamWindowBytes: 131_072,
    sessionWindowBytes: 8_388_608,
    maxFrameBytes: 16_384,
    maxHeaderListBytes: 65_536,
  },
  trusted: { maxConcurrentStreams: 1000, streamWindowBytes: 131_072 },
  heads: { maxHeadBytes: 65_536, maxStringBytes: 65_536 },
}
