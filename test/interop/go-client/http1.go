package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

const (
	exchanges     = 16
	exchangeBytes = mebibyte
)

// http1Proxy uses the endpoint as a proxy over HTTP/1.1, as programs in Go do that know nothing of tunnels.
func http1Proxy(to access) (any, error) {
	origin := httptest.NewTLSServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		// HTTP/1.1 of Go has one direction after the other.
		content, _ := io.ReadAll(request.Body)
		_, _ = answer.Write(content)
	}))
	defer origin.Close()
	transport := &http.Transport{
		Proxy:              http.ProxyURL(&url.URL{Scheme: "https", Host: "127.0.0.1:" + to.port}),
		ProxyConnectHeader: http.Header{"Proxy-Authorization": {to.authorization}},
		TLSClientConfig:    &tls.Config{ServerName: serverName, InsecureSkipVerify: true},
		DisableKeepAlives:  true,
	}
	results := make(chan error, exchanges)
	for index := range exchanges {
		go func() { results <- exchange(transport, origin.URL, byte(index)) }()
	}
	for range exchanges {
		if err := <-results; err != nil {
			return nil, err
		}
	}
	transport.ProxyConnectHeader.Set("Proxy-Authorization", "Basic d3Jvbmc6d3Jvbmc=")
	refusal := exchange(transport, origin.URL, 0)
	if refusal == nil {
		return nil, fmt.Errorf("wrong credentials are good enough")
	}
	_, reason, _ := strings.Cut(refusal.Error(), ": ")
	return map[string]any{"exchanges": exchanges, "refusal": reason}, nil
}

func exchange(through http.RoundTripper, target string, seed byte) error {
	content := make([]byte, exchangeBytes)
	(&pattern{seed: seed}).fill(content)
	answer, err := (&http.Client{Transport: through}).Post(target, "", bytes.NewReader(content))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	echoed, err := io.ReadAll(answer.Body)
	if err == nil && !bytes.Equal(content, echoed) {
		err = fmt.Errorf("%d other bytes came back", len(echoed))
	}
	return err
}
