package validate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var limitRangeRules = &rules{create: rule(limitRange), update: same(limitRange)} // never changed

func limitRange(e *problems, l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		limit, at := &l.Spec.Limits[i], specPath.Child("limits").Index(i)
		if texts := validation.IsQualifiedName(string(limit.Type)); len(texts) > 0 {
			e.texts(at.Child("type"), limit.Type, texts)
		} else if !strings.Contains(string(limit.Type), "/") {
			switch limit.Type {
			case corev1.LimitTypePod, corev1.LimitTypeContainer, corev1.LimitTypePersistentVolumeClaim:
			default:
				e.invalid(at.Child("type"), limit.Type, "must be a standard limit type or fully qualified")
			}
		}
		if slices.ContainsFunc(l.Spec.Limits[:i], func(o corev1.LimitRangeItem) bool { return o.Type == limit.Type }) {
			e.add(field.Duplicate(at.Child("type"), limit.Type))
		}
		limitItem(e, limit, at)
	}
}

func limitItem(e *problems, l *corev1.LimitRangeItem, at *field.Path) {
	names := sets.New[corev1.ResourceName]()
	see := func(list corev1.ResourceList, name string) {
		for n := range ordered(list) {
			names.Insert(n)
			at := at.Child(name).Key(string(n))
			switch l.Type {
			case corev1.LimitTypePod, corev1.LimitTypeContainer:
				containerResource(e, n, at)
			default:
				resourceName(e, n, at)
			}
		}
	}
	see(l.Max, "max")
	see(l.Min, "min")
	if l.Type == corev1.LimitTypePod {
		if len(l.Default) > 0 {
			e.forbidden(at.Child("default"), "may not be specified when `type` is 'Pod'")
		}
		if len(l.DefaultRequest) > 0 {
			e.forbidden(at.Child("defaultRequest"), "may not be specified when `type` is 'Pod'")
		}
	} else {
		see(l.Default, "default")
		see(l.DefaultRequest, "defaultRequest")
	}
	if l.Type == corev1.LimitTypePersistentVolumeClaim {
		_, low := l.Min[corev1.ResourceStorage]
		_, high := l.Max[corev1.ResourceStorage]
		if !low && !high {
			e.required(at.Child("limits"), "either minimum or maximum storage value is required, but neither was provided")
		}
	}
	see(l.MaxLimitRequestRatio, "maxLimitRequestRatio")
	for _, n := range sets.List(names) {
		amounts(e, l, n, at)
	}
}

// amounts checks that what is set for a resource does not contradict itself.
func amounts(e *problems, l *corev1.LimitRangeItem, n corev1.ResourceName, at *field.Path) {
	low, hasLow := l.Min[n]
	high, hasHigh := l.Max[n]
	def, hasDef := l.Default[n]
	req, hasReq := l.DefaultRequest[n]
	ratio, hasRatio := l.MaxLimitRequestRatio[n]
	above := func(aName string, a resource.Quantity, aSet bool, field, bName string, b resource.Quantity, bSet bool) {
		if aSet && bSet && a.Cmp(b) > 0 {
			bad := a
			if aName == "min" && field == "defaultRequest" || aName == "default" {
				bad = b // which upstream shows of these two
			}
			e.invalid(at.Child(field).Key(string(n)), bad.String(), fmt.Sprintf("%s value %s is greater than %s value %s", aName, a.String(), bName, b.String()))
		}
	}
	above("min", low, hasLow, "min", "max", high, hasHigh)
	above("min", low, hasLow, "defaultRequest", "default request", req, hasReq)
	above("default request", req, hasReq, "defaultRequest", "max", high, hasHigh)
	above("default request", req, hasReq, "defaultRequest", "default limit", def, hasDef)
	above("min", low, hasLow, "default", "default", def, hasDef)
	above("default", def, hasDef, "default", "max", high, hasHigh)
	if hasRatio && ratio.Cmp(*resource.NewQuantity(1, resource.DecimalSI)) < 0 {
		e.invalid(at.Child("maxLimitRequestRatio").Key(string(n)), ratio.String(), fmt.Sprintf("ratio %s is less than 1", ratio.String()))
	}
	if hasRatio && hasLow && hasHigh && low.Sign() > 0 {
		if most := high.AsApproximateFloat64() / low.AsApproximateFloat64(); ratio.AsApproximateFloat64() > most {
			e.invalid(at.Child("maxLimitRequestRatio").Key(string(n)), ratio.String(), fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), most))
		}
	}
	if (isHugePages(n) || isExtended(n)) && hasDef && hasReq && def.Cmp(req) != 0 {
		e.invalid(at.Child("defaultRequest").Key(string(n)), req.String(), fmt.Sprintf("default value %s must equal to defaultRequest value %s in %s", def.String(), req.String(), n))
	}
}
