// Command go-client is a TrustTunnel client on Go's HTTP: one scenario per run, told as JSON on standard output.
//
// Usage: go-client SCENARIO PORT AUTHORIZATION [ARGUMENT]...
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// access is how the endpoint is reached.
type access struct {
	port          string
	authorization string
	arguments     []string
}

type scenario func(access) (any, error)

var scenarios = map[string]scenario{
	"page":       page,
	"tunnels":    tunnels,
	"server-end": serverEnd,
	"cancel":     cancelTransfer,
	"target":     targetReset,
	"drain":      drain,
	"http1":      http1Proxy,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 || scenarios[args[0]] == nil {
		return fmt.Errorf("unknown scenario in %q", args)
	}
	result, err := scenarios[args[0]](access{args[1], args[2], args[3:]})
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
