// Package probe asks a container how it is: by a request over HTTP, TCP or
// gRPC to the pod's address, or by a command inside it. Each call is one try;
// when to try, and what a result means, is for the caller.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// maxOutput bounds what is kept of a command's or a server's answer.
const maxOutput = 10 * 1024

// Target is the container that is asked.
type Target struct {
	IP          string
	Ports       []v1.ContainerPort
	HostNetwork bool
	// Exec runs a command in the container and returns what it printed. err is
	// set when it could not be run or did not end in time.
	Exec func(ctx context.Context, cmd []string, timeout time.Duration) (output string, exit int, err error)
}

// Outcome of one try.
type Outcome struct {
	OK bool
	// Warning: it counts as success, but somebody should know.
	Warning bool
	Text    string
	// Refused: nobody listens on the port.
	Refused bool
	// Err is set when the question could not be asked at all.
	Err error
}

func fail(format string, args ...any) Outcome { return Outcome{Text: fmt.Sprintf(format, args...)} }

// Run makes one try of the probe, within its timeout.
func Run(ctx context.Context, t Target, p *v1.Probe) Outcome {
	timeout := time.Duration(max(p.TimeoutSeconds, 1)) * time.Second
	switch {
	case p.Exec != nil:
		return command(ctx, t, p.Exec.Command, timeout)
	case p.HTTPGet != nil:
		return httpGet(ctx, t, p.HTTPGet, timeout)
	case p.TCPSocket != nil:
		return tcp(ctx, t, p.TCPSocket, timeout)
	case p.GRPC != nil:
		return askHealth(ctx, t, p.GRPC, timeout)
	}
	return Outcome{Err: errors.New("missing probe handler")}
}

func command(ctx context.Context, t Target, cmd []string, timeout time.Duration) Outcome {
	output, exit, err := t.Exec(ctx, cmd, timeout)
	if len(output) > maxOutput {
		output = output[:maxOutput]
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), status.Code(err) == codes.DeadlineExceeded:
		return fail("command timed out: %q timed out after %s", strings.Join(cmd, " "), timeout)
	case err != nil:
		return Outcome{Err: err}
	case exit != 0:
		return fail("%s", output)
	}
	return Outcome{OK: true, Text: output}
}

func tcp(ctx context.Context, t Target, a *v1.TCPSocketAction, timeout time.Duration) Outcome {
	port, err := t.port(a.Port)
	if err != nil {
		return Outcome{Err: err}
	}
	host := a.Host
	if host == "" {
		host = t.IP
	}
	d := dialer(timeout)
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return unreached(err)
	}
	conn.Close()
	return Outcome{OK: true}
}

// unreached is the outcome of a connection that could not be made.
func unreached(err error) Outcome {
	return Outcome{Text: err.Error(), Refused: errors.Is(err, syscall.ECONNREFUSED)}
}

// dialer closes at once, so that many tries leave no ports in TIME_WAIT.
func dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: lingerZero, KeepAlive: -1}
}

// port resolves a port's number or name.
func (t Target) port(p intstr.IntOrString) (int, error) {
	number := p.IntValue()
	if p.Type == intstr.String {
		for _, c := range t.Ports {
			if c.Name == p.StrVal {
				number = int(c.ContainerPort)
			}
		}
	}
	if number < 1 || number > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", p.String())
	}
	return number, nil
}
