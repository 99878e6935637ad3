package main

import (
	"bytes"
	"fmt"
	"io"
)

const (
	mebibyte   = 1 << 20
	chunkBytes = 64 << 10
)

// pattern is an endless sequence that reveals its own position: byte n depends on n and on the seed.
type pattern struct {
	seed   byte
	offset int
}

func (p *pattern) fill(chunk []byte) {
	for i := range chunk {
		n := p.offset + i
		chunk[i] = byte(n) ^ byte(n>>8)*3 ^ byte(n>>16)*5 ^ p.seed
	}
	p.offset += len(chunk)
}

// send writes the first total bytes.
func send(to io.Writer, seed byte, total int) error {
	source := pattern{seed: seed}
	chunk := make([]byte, chunkBytes)
	for source.offset < total {
		part := chunk[:min(chunkBytes, total-source.offset)]
		source.fill(part)
		if _, err := to.Write(part); err != nil {
			return fmt.Errorf("after %d bytes: %w", source.offset-len(part), err)
		}
	}
	return nil
}

// expect reads to the end, which must come after exactly total bytes of the pattern.
func expect(from io.Reader, seed byte, total int) error {
	wanted := pattern{seed: seed}
	chunk := make([]byte, chunkBytes)
	for {
		n, err := from.Read(chunk)
		compare := make([]byte, n)
		wanted.fill(compare)
		if !bytes.Equal(compare, chunk[:n]) {
			return fmt.Errorf("other bytes than were sent, before %d", wanted.offset)
		}
		if err == io.EOF && wanted.offset == total {
			return nil
		}
		if err != nil {
			return fmt.Errorf("ended after %d of %d bytes: %w", wanted.offset, total, err)
		}
	}
}
