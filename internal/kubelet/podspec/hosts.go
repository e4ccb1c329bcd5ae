package podspec

import (
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Hosts returns the content of the pod's /etc/hosts. base is the node's own
// file, which host network pods see; nil for others.
func (n *Node) Hosts(pod *v1.Pod, ips []string, base []byte) []byte {
	var b strings.Builder
	b.WriteString("# Kubernetes-managed hosts file")
	if base != nil {
		b.WriteString(" (host network).\n")
		b.Write(base)
	} else {
		b.WriteString(".\n" +
			"127.0.0.1\tlocalhost\n" +
			"::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::0\tip6-localnet\n" +
			"fe00::0\tip6-mcastprefix\n" +
			"fe00::1\tip6-allnodes\n" +
			"fe00::2\tip6-allrouters\n")
		host, domain := n.hostname(pod)
		for _, ip := range ips {
			b.WriteString(ip + "\t")
			if domain != "" {
				b.WriteString(host + "." + domain + "\t")
			}
			b.WriteString(host + "\n")
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range pod.Spec.HostAliases {
			b.WriteString(a.IP + "\t" + strings.Join(a.Hostnames, "\t") + "\n")
		}
	}
	return []byte(b.String())
}

// hostname returns the pod's host name and, if it has one, its domain.
func (n *Node) hostname(pod *v1.Pod) (host, domain string) {
	if o := pod.Spec.HostnameOverride; o != nil && *o != "" {
		return *o, ""
	}
	host = pod.Name
	if pod.Spec.Hostname != "" {
		host = pod.Spec.Hostname
	}
	if len(host) > 63 {
		host = strings.TrimRight(host[:63], "-.")
	}
	if pod.Spec.Subdomain != "" {
		domain = pod.Spec.Subdomain + "." + pod.Namespace + ".svc." + n.ClusterDomain
	}
	return host, domain
}
