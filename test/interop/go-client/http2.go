package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/http2"
)

const serverName = "vpn.endpoint"

// openSession is one connection with HTTP/2.
func openSession(to access) (*http2.ClientConn, error) {
	connection, err := dialTLS(to.port)
	if err != nil {
		return nil, err
	}
	return (&http2.Transport{DisableCompression: true}).NewClientConn(connection)
}

func dialTLS(port string) (net.Conn, error) {
	return tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{
		ServerName:         serverName,
		NextProtos:         []string{http2.NextProtoTLS},
		InsecureSkipVerify: true,
	})
}

// connectRequest is a CONNECT whose uplink is the body; without one the uplink ends with the head.
func connectRequest(ctx context.Context, to access, authority string, uplink io.ReadCloser) *http.Request {
	request := &http.Request{
		Method: http.MethodConnect,
		// Transports choose the connection by this, and send the other.
		URL:           &url.URL{Scheme: "https", Host: serverName},
		Host:          authority,
		Header:        http.Header{"Proxy-Authorization": {to.authorization}},
		Body:          uplink,
		ContentLength: -1,
	}
	if uplink == nil {
		request.ContentLength = 0
	}
	return request.WithContext(ctx)
}

// tunnel is an accepted CONNECT.
type tunnel struct {
	uplink   *io.PipeWriter
	downlink io.ReadCloser
}

func openTunnel(ctx context.Context, to access, through http.RoundTripper, authority string) (*tunnel, error) {
	reader, writer := io.Pipe()
	answer, err := through.RoundTrip(connectRequest(ctx, to, authority, reader))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d for %s", answer.StatusCode, authority)
	}
	return &tunnel{writer, answer.Body}, nil
}

// echo sends total bytes, ends the uplink, and expects them back with an end.
func (t *tunnel) echo(seed byte, total int) error {
	sent := make(chan error, 1)
	go func() {
		err := send(t.uplink, seed, total)
		t.uplink.CloseWithError(err)
		sent <- err
	}()
	if err := expect(t.downlink, seed, total); err != nil {
		return fmt.Errorf("downlink: %w", err)
	}
	if err := <-sent; err != nil {
		return fmt.Errorf("uplink: %w", err)
	}
	return t.downlink.Close()
}

// isAlive tells whether the session still answers.
func isAlive(to access, session http.RoundTripper) error {
	answer, err := session.RoundTrip(connectRequest(context.Background(), to, "_check", nil))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d for _check", answer.StatusCode)
	}
	return answer.Body.Close()
}
