package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"golang.org/x/net/http2"
)

const (
	tunnelCount = 64
	tunnelBytes = 8 * mebibyte
)

// page is a visitor's request.
func page(to access) (any, error) {
	session, err := openSession(to)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	request, err := http.NewRequest(http.MethodGet, "https://"+serverName+"/", nil)
	if err != nil {
		return nil, err
	}
	answer, err := session.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(answer.Body)
	return map[string]any{
		"status": answer.StatusCode,
		"proto":  answer.Proto,
		"type":   answer.Header.Get("content-type"),
		"length": answer.ContentLength,
		"bytes":  len(content),
	}, err
}

// tunnels has many at the same time in one session, each with its own bytes both ways.
func tunnels(to access) (any, error) {
	session, err := openSession(to)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	results := make(chan error, tunnelCount)
	for index := range tunnelCount {
		go func() {
			opened, err := openTunnel(context.Background(), to, session, to.arguments[0])
			if err == nil {
				err = opened.echo(byte(index), tunnelBytes)
			}
			results <- err
		}()
	}
	for range tunnelCount {
		if err := <-results; err != nil {
			return nil, err
		}
	}
	return map[string]int{"tunnels": tunnelCount, "bytes": tunnelCount * tunnelBytes}, isAlive(to, session)
}

// serverEnd sends most of its bytes after the target has ended its direction.
func serverEnd(to access) (any, error) {
	session, err := openSession(to)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	opened, err := openTunnel(context.Background(), to, session, to.arguments[0])
	if err != nil {
		return nil, err
	}
	greeting, err := io.ReadAll(opened.downlink)
	if err != nil {
		return nil, err
	}
	if err := send(opened.uplink, 0, mebibyte); err != nil {
		return nil, err
	}
	return map[string]string{"greeting": string(greeting)}, errors.Join(opened.uplink.Close(), isAlive(to, session))
}

// cancelTransfer gives up a tunnel while bytes flow both ways; another tunnel of the session goes on.
func cancelTransfer(to access) (any, error) {
	session, err := openSession(to)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	other, err := openTunnel(context.Background(), to, session, to.arguments[1])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opened, err := openTunnel(ctx, to, session, to.arguments[0])
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- send(opened.uplink, 0, 1<<40) }()
	if _, err := io.CopyN(io.Discard, opened.downlink, mebibyte); err != nil {
		return nil, err
	}
	cancel()
	if <-ended == nil {
		return nil, errors.New("the uplink went on")
	}
	return map[string]bool{"alive": true}, errors.Join(other.echo(1, mebibyte), isAlive(to, session))
}

// targetReset tells how a tunnel ends whose target resets in the middle.
func targetReset(to access) (any, error) {
	session, err := openSession(to)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	opened, err := openTunnel(context.Background(), to, session, to.arguments[0])
	if err != nil {
		return nil, err
	}
	go send(opened.uplink, 0, 1<<40)
	_, err = io.Copy(io.Discard, opened.downlink)
	var reset http2.StreamError
	if !errors.As(err, &reset) {
		return nil, fmt.Errorf("ended otherwise: %w", err)
	}
	return map[string]string{"code": reset.Code.String()}, isAlive(to, session)
}

// drain keeps a tunnel to one endpoint, which is told to end, and asks again and again over a transport that may open
// connections to another one, until it does.
func drain(to access) (any, error) {
	var dials atomic.Int32
	transport := &http2.Transport{
		DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) {
			if dials.Add(1) == 1 {
				return dialTLS(to.port)
			}
			return dialTLS(to.arguments[1])
		},
	}
	defer transport.CloseIdleConnections()
	opened, err := openTunnel(context.Background(), to, transport, to.arguments[0])
	if err != nil {
		return nil, err
	}
	os.Stdout.WriteString("open\n")
	for dials.Load() == 1 {
		if err := isAlive(to, transport); err != nil {
			return nil, err
		}
	}
	if err := opened.echo(2, mebibyte); err != nil {
		return nil, err
	}
	os.Stdout.WriteString("finished\n")
	// Until the test has seen the endpoint end.
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return map[string]int32{"dials": dials.Load()}, isAlive(to, transport)
}
