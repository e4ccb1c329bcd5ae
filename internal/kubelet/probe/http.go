package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

const (
	userAgent = "kube-probe/1.36"
	// maxRedirects to the same host; one to another host is not followed.
	maxRedirects = 10
	// maxBody is how much of an answer is read.
	maxBody = 10 * 1024
)

var errTooManyRedirects = fmt.Errorf("stopped after %d redirects", maxRedirects)

// request builds the request of an httpGet.
func request(ctx context.Context, t Target, a *v1.HTTPGetAction, agent string) (*http.Request, error) {
	port, err := t.port(a.Port)
	if err != nil {
		return nil, err
	}
	host := a.Host
	if host == "" {
		host = t.IP
	}
	u, err := url.Parse(a.Path)
	if err != nil { // a path that is no URL is taken as it is
		u = &url.URL{Path: a.Path}
	}
	u.Scheme, u.Host = "http", net.JoinHostPort(host, strconv.Itoa(port))
	if strings.EqualFold(string(a.Scheme), "https") {
		u.Scheme = "https"
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, h := range a.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
			continue
		}
		req.Header.Add(h.Name, h.Value)
	}
	set := func(name, value string) {
		switch v, ok := req.Header[name]; {
		case !ok:
			req.Header.Set(name, value)
		case len(v) == 1 && v[0] == "": // an empty header takes the default away
			delete(req.Header, name)
			if name == "User-Agent" {
				req.Header[name] = []string{""}
			}
		}
	}
	set("Accept", "*/*")
	set("User-Agent", agent)
	return req, nil
}

// client makes one request and keeps no connection. Certificates are not
// checked: the kubelet cannot know what a container should present.
func client(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives:  true,
			DisableCompression: true,
			DialContext:        dialer(timeout).DialContext,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if req.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse
			}
			if len(via) >= maxRedirects {
				return errTooManyRedirects
			}
			return nil
		},
	}
}

func httpGet(ctx context.Context, t Target, a *v1.HTTPGetAction, timeout time.Duration) Outcome {
	req, err := request(ctx, t, a, userAgent)
	if err != nil {
		return Outcome{Err: err}
	}
	res, err := client(timeout).Do(req)
	if err != nil {
		return unreached(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fail("%v", err)
	}
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return Outcome{OK: true, Warning: true,
			Text: fmt.Sprintf("Probe terminated redirects, Response body: %s", body)}
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return Outcome{OK: true, Text: string(body)}
	}
	return fail("HTTP probe failed with statuscode: %d", res.StatusCode)
}

// Call makes the request of a lifecycle hook; an answer that is not 2xx or 3xx
// is an error.
func Call(ctx context.Context, t Target, a *v1.HTTPGetAction) error {
	req, err := request(ctx, t, a, "kube-lifecycle/1.36")
	if err != nil {
		return err
	}
	res, err := client(0).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode >= 400 {
		return fmt.Errorf("HTTP hook failed with statuscode: %d", res.StatusCode)
	}
	return nil
}

// lingerZero makes a close reset the connection.
func lingerZero(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}); e != nil {
		return e
	}
	return err
}
