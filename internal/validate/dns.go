package validate

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a resolver's configuration may hold.
const (
	mostNameservers  = 3
	mostSearchPaths  = 32
	longestSearch    = 2048
	searchSeparators = 1
)

func dnsConfig(e *problems, s *corev1.PodSpec, at *field.Path) {
	c := s.DNSConfig
	if s.DNSPolicy == corev1.DNSNone {
		if c == nil {
			e.required(at, fmt.Sprintf("must provide `dnsConfig` when `dnsPolicy` is %s", corev1.DNSNone))
			return
		}
		if len(c.Nameservers) == 0 {
			e.required(at.Child("nameservers"), fmt.Sprintf("must provide at least one DNS nameserver when `dnsPolicy` is %s", corev1.DNSNone))
		}
	}
	if c == nil {
		return
	}
	if len(c.Nameservers) > mostNameservers {
		e.invalid(at.Child("nameservers"), c.Nameservers, fmt.Sprintf("must not have more than %v nameservers", mostNameservers))
	}
	for i, ip := range c.Nameservers {
		e.all(e.ip(at.Child("nameservers").Index(i), ip))
	}
	if len(c.Searches) > mostSearchPaths {
		e.invalid(at.Child("searches"), c.Searches, fmt.Sprintf("must not have more than %v search paths", mostSearchPaths))
	}
	total := -searchSeparators
	for i, search := range c.Searches {
		total += len(search) + searchSeparators
		if search == "." {
			continue
		}
		if texts := validation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(search, ".")); len(texts) > 0 {
			e.texts(at.Child("searches").Index(i), search, texts)
		}
	}
	if total > longestSearch {
		e.invalid(at.Child("searches"), c.Searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", longestSearch))
	}
	for i, o := range c.Options {
		if o.Name == "" {
			e.required(at.Child("options").Index(i), "must not be empty")
		}
	}
}
