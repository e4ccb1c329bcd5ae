package system

import (
	"net/netip"
	"testing"
)

func TestDNSAddress(t *testing.T) {
	for services, want := range map[string]string{
		"10.43.0.0/16":    "10.43.0.10",
		"10.128.16.0/20":  "10.128.16.10",
		"10.96.7.200/16":  "10.96.0.10", // the range, not where it was written from
		"192.0.2.240/28":  "192.0.2.250",
		"fd00:43::/112":   "fd00:43::a",
		"10.0.255.240/28": "10.0.255.250",
	} {
		if got := dnsAddress(netip.MustParsePrefix(services)); got.String() != want {
			t.Errorf("%s: %s, want %s", services, got, want)
		}
	}
}

func TestDNSService(t *testing.T) {
	s := dnsService(netip.MustParseAddr("10.43.0.10"))
	if s.Namespace != "kube-system" || s.Name != "kube-dns" || s.Spec.ClusterIP != "10.43.0.10" || len(s.Spec.Selector) != 0 || len(s.Spec.Ports) != 2 {
		t.Errorf("%+v", s)
	}
}
