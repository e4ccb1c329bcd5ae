package validate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func podSecurity(e *problems, s *corev1.PodSpec, at *field.Path) {
	c := s.SecurityContext
	if s.ShareProcessNamespace != nil && *s.ShareProcessNamespace && s.HostPID {
		e.invalid(at.Child("shareProcessNamespace"), *s.ShareProcessNamespace, "ShareProcessNamespace and HostPID cannot both be enabled")
	}
	if s.HostUsers != nil && !*s.HostUsers {
		const text = "when `hostUsers` is false"
		if s.HostPID {
			e.forbidden(at.Child("hostPID"), text)
		}
		if s.HostIPC {
			e.forbidden(at.Child("hostIPC"), text)
		}
	}
	if c.FSGroup != nil {
		e.texts(at.Child("fsGroup"), *c.FSGroup, validation.IsValidGroupID(*c.FSGroup))
	}
	ids(e, c.RunAsUser, c.RunAsGroup, at)
	for i, g := range c.SupplementalGroups {
		e.texts(at.Child("supplementalGroups").Index(i), g, validation.IsValidGroupID(g))
	}
	optionalOneOf(e, at, "fsGroupChangePolicy", c.FSGroupChangePolicy, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)
	// MountOption is for when SELinux labels are mounted by default.
	optionalOneOf(e, at, "seLinuxChangePolicy", c.SELinuxChangePolicy, corev1.SELinuxChangePolicyRecursive)
	optionalOneOf(e, at, "supplementalGroupsPolicy", c.SupplementalGroupsPolicy,
		corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)
	seccomp(e, c.SeccompProfile, at.Child("seccompProfile"))
	appArmor(e, c.AppArmorProfile, at.Child("appArmorProfile"))
	windowsOptions(e, c.WindowsOptions, at.Child("windowsOptions"))
	if len(c.Sysctls) > 0 {
		sysctls(e, s, at.Child("sysctls"))
	}
}

func ids(e *problems, user, group *int64, at *field.Path) {
	if user != nil {
		e.texts(at.Child("runAsUser"), *user, validation.IsValidUserID(*user))
	}
	if group != nil {
		e.texts(at.Child("runAsGroup"), *group, validation.IsValidGroupID(*group))
	}
}

func containerSecurity(e *problems, c *corev1.SecurityContext, hostUsers *bool, at *field.Path) {
	optionalOneOf(e, at, "procMount", c.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)
	if c.ProcMount != nil && *c.ProcMount == corev1.UnmaskedProcMount && (hostUsers == nil || *hostUsers) {
		e.invalid(at.Child("procMount"), *c.ProcMount, "`hostUsers` must be false to use `Unmasked`")
	}
	ids(e, c.RunAsUser, c.RunAsGroup, at)
	seccomp(e, c.SeccompProfile, at.Child("seccompProfile"))
	appArmor(e, c.AppArmorProfile, at.Child("appArmorProfile"))
	windowsOptions(e, c.WindowsOptions, at.Child("windowsOptions"))
	if c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation {
		return
	}
	if c.Privileged != nil && *c.Privileged {
		e.invalid(at, c, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
	}
	if c.Capabilities != nil && slices.Contains(c.Capabilities.Add, "CAP_SYS_ADMIN") {
		e.invalid(at, c, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
	}
}

func seccomp(e *problems, p *corev1.SeccompProfile, at *field.Path) {
	if p == nil {
		return
	}
	if p.Type == "" {
		e.required(at.Child("type"), "type is required when seccompProfile is set")
	} else {
		oneOf(e, at, "type", p.Type, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	}
	switch l := p.LocalhostProfile; {
	case p.Type != corev1.SeccompProfileTypeLocalhost:
		if l != nil {
			e.invalid(at.Child("localhostProfile"), struct {
				Type             corev1.SeccompProfileType
				LocalhostProfile *string
			}{p.Type, l}, "can only be set when seccomp type is Localhost")
		}
	case l == nil:
		e.required(at.Child("localhostProfile"), "must be set when seccomp type is Localhost")
	default:
		descending(e, *l, at, "localhostProfile")
	}
}

// The longest path that the kernel takes is of 4096 bytes with its zero.
const longestAppArmor = 4095 - len("localhost/")

func appArmor(e *problems, p *corev1.AppArmorProfile, at *field.Path) {
	if p == nil {
		return
	}
	const needed = "must be set when AppArmor type is Localhost"
	switch l := p.LocalhostProfile; {
	case p.Type == "":
		e.required(at.Child("type"), "type is required when appArmorProfile is set")
	case p.Type == corev1.AppArmorProfileTypeLocalhost && l == nil:
		e.required(at.Child("localhostProfile"), needed)
	case p.Type == corev1.AppArmorProfileTypeLocalhost:
		trimmed := strings.TrimSpace(*l)
		switch {
		case trimmed != *l:
			e.invalid(at.Child("localhostProfile"), *l, "must not be padded with whitespace")
		case trimmed == "":
			e.required(at.Child("localhostProfile"), needed)
		}
		if len(*l) > longestAppArmor {
			e.add(field.TooLong(at.Child("localhostProfile"), *l, longestAppArmor))
		}
	default:
		oneOf(e, at, "type", p.Type, corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
		if l != nil {
			e.invalid(at.Child("localhostProfile"), *l, "can only be set when AppArmor type is Localhost")
		}
	}
}

func windowsOptions(e *problems, o *corev1.WindowsSecurityContextOptions, at *field.Path) {
	if o == nil {
		return
	}
	if n := o.GMSACredentialSpecName; n != nil {
		e.check(at, "gmsaCredentialSpecName", *n, dnsSubdomain)
	}
	if s := o.GMSACredentialSpec; s != nil {
		if *s == "" {
			e.invalid(at.Child("gmsaCredentialSpec"), *s, "gmsaCredentialSpec cannot be an empty string")
		}
		if len(*s) > 64<<10 {
			e.invalid(at.Child("gmsaCredentialSpec"), *s, "gmsaCredentialSpec size must be under 64 KiB")
		}
	}
	if u := o.RunAsUserName; u != nil {
		windowsUser(e, *u, at.Child("runAsUserName"))
	}
}

// What names of Windows' domains and users are made of.
var (
	netBIOS    = regexp.MustCompile(`^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$`) // never changed
	domainName = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$`)
)

const (
	longestUser   = 104
	longestDomain = 256
)

// windowsUser judges who runs a process of Windows: a user, perhaps of a domain.
func windowsUser(e *problems, name string, at *field.Path) {
	switch {
	case name == "":
		e.invalid(at, name, "runAsUserName cannot be an empty string")
		return
	case strings.ContainsFunc(name, unicode.IsControl):
		e.invalid(at, name, "runAsUserName cannot contain control characters")
		return
	case strings.Count(name, `\`) > 1:
		e.invalid(at, name, "runAsUserName cannot contain more than one backslash")
		return
	}
	domain, user, ok := strings.Cut(name, `\`)
	if !ok {
		user = name
	} else {
		if len(domain) >= longestDomain {
			e.invalid(at, name, fmt.Sprintf("runAsUserName's Domain length must be under %d characters", longestDomain))
		}
		if !netBIOS.MatchString(domain) && (len(domain) >= longestDomain || !domainName.MatchString(domain)) {
			e.invalid(at, name, "runAsUserName's Domain doesn't match the NetBios nor the DNS format")
		}
	}
	switch {
	case user == "":
		e.invalid(at, name, "runAsUserName's User cannot be empty")
	case len(user) > longestUser:
		e.invalid(at, name, fmt.Sprintf("runAsUserName's User length must not be longer than %d characters", longestUser))
	}
	if user != "" && strings.Trim(user, ". ") == "" {
		e.invalid(at, name, "runAsUserName's User cannot contain only periods or spaces")
	}
	if strings.ContainsAny(user, `"/\:;|=,+*?<>@[]`) {
		e.invalid(at, name, `runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`)
	}
}

// hostProcesses checks that all of a pod's containers are processes of a Windows
// host if one is, and that they have the host's network.
func hostProcesses(e *problems, s *corev1.PodSpec, at *field.Path) {
	var pods *bool
	if c := s.SecurityContext; c != nil && c.WindowsOptions != nil {
		pods = c.WindowsOptions.HostProcess
	}
	one, all := false, true
	eachContainer(s, at, func(c *corev1.Container, at *field.Path) {
		is := pods
		if sc := c.SecurityContext; sc != nil && sc.WindowsOptions != nil && sc.WindowsOptions.HostProcess != nil {
			is = sc.WindowsOptions.HostProcess
			if pods != nil && *pods != *is {
				e.invalid(at.Child("securityContext", "windowsOptions", "hostProcess"), *is, fmt.Sprintf("pod hostProcess value must be identical if both are specified, was %v", *pods))
			}
		}
		one = one || is != nil && *is
		all = all && is != nil && *is
	})
	if !one {
		return
	}
	if !all {
		e.invalid(at, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers")
	}
	if !s.HostNetwork {
		e.invalid(at.Child("hostNetwork"), s.HostNetwork, "hostNetwork must be true if pod contains any hostProcess containers")
	}
}

func sysctls(e *problems, s *corev1.PodSpec, at *field.Path) {
	list := s.SecurityContext.Sysctls
	for i, c := range list {
		name := at.Index(i).Child("name")
		if c.Name == "" {
			e.required(name, "")
			continue
		}
		if !isSysctl(c.Name) {
			e.invalid(name, c.Name, fmt.Sprintf("must have at most %d characters and match regex %s", longestSysctl, sysctlFormat))
		} else {
			dotted := sysctlName(c.Name)
			if s.HostNetwork && strings.HasPrefix(dotted, "net.") {
				e.invalid(name, c.Name, "may not be specified when 'hostNetwork' is true")
			}
			ipc := strings.HasPrefix(dotted, "kernel.shm") || strings.HasPrefix(dotted, "kernel.msg") || dotted == "kernel.sem" || strings.HasPrefix(dotted, "fs.mqueue.")
			if s.HostIPC && ipc {
				e.invalid(name, c.Name, "may not be specified when 'hostIPC' is true")
			}
		}
		if slices.ContainsFunc(list[:i], func(o corev1.Sysctl) bool { return o.Name == c.Name }) {
			e.add(field.Duplicate(name, c.Name))
		}
	}
}

const (
	longestSysctl = 253
	sysctlSegment = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
	sysctlFormat  = "^(" + sysctlSegment + "[\\./])*" + sysctlSegment + "$"
)

// isSysctl tells whether a name is of segments with dots or slashes between.
func isSysctl(name string) bool {
	if len(name) == 0 || len(name) > longestSysctl {
		return false
	}
	alnum := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	border := true // the next must be the first of a segment
	for i := range len(name) {
		switch c := name[i]; {
		case alnum(c):
			border = false
		case border:
			return false
		case c == '.' || c == '/':
			if !alnum(name[i-1]) {
				return false
			}
			border = true
		case c != '-' && c != '_':
			return false
		}
	}
	return alnum(name[len(name)-1])
}

// sysctlName returns the form with dots of a name that may be with slashes.
func sysctlName(name string) string {
	i := strings.IndexAny(name, "./")
	if i < 0 || name[i] == '.' {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, name)
}
