/**
 * Why a stream is ended abruptly. Each transport maps it to a code of its own: RFC 9113 section 7, RFC 9114 section
 * 8.1; HTTP/1.1 and TCP send RST.
 */
export type StreamReset = 'no_error' | 'cancel' | 'connect_error' | 'excessive_load' | 'internal_error'
