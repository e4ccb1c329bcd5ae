package local

import (
	"net/netip"
	"os"
	"strings"
)

// resolvers returns the name servers in a resolv.conf that a node can reach:
// not those on the machine's own loopback.
func resolvers(file string) []string {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && !a.IsLoopback() {
			all = append(all, a.String())
		}
	}
	return all
}
