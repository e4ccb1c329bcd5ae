package probe

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
)

// askHealth asks the gRPC health service (grpc.health.v1).
func askHealth(ctx context.Context, t Target, a *v1.GRPCAction, timeout time.Duration) Outcome {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	service := ""
	if a.Service != nil {
		service = *a.Service
	}
	address := net.JoinHostPort(t.IP, strconv.Itoa(int(a.Port)))
	d := dialer(timeout)
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithUserAgent(userAgent),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		return Outcome{Err: err}
	}
	defer conn.Close()
	res, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil {
		switch status.Code(err) {
		case codes.Unimplemented:
			return fail("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", status.Convert(err).Message())
		case codes.DeadlineExceeded:
			return fail("timeout: failed to connect service %q within %s: %v", address, timeout, context.DeadlineExceeded)
		}
		return fail("error: health rpc probe failed: %v", err)
	}
	if res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fail("service unhealthy (responded with %q)", res.GetStatus().String())
	}
	return Outcome{OK: true, Text: fmt.Sprintf("service healthy (responded with %q)", res.GetStatus().String())}
}
