package scheme

import certificatesv1 "k8s.io/api/certificates/v1"

func certificatesRows() []*Resource {
	return []*Resource{
		row[certificatesv1.CertificateSigningRequest, certificatesv1.CertificateSigningRequestList](Resource{
			Group: "certificates.k8s.io", Version: "v1",
			Kind: "CertificateSigningRequest", Name: "certificatesigningrequests", Singular: "certificatesigningrequest",
			ShortNames: []string{"csr"}, Verbs: everyVerb, Prefix: "certificatesigningrequests",
			Subresources: []Subresource{{Name: "approval", Verbs: readWrite, NoTable: true}, status()},
			Fields: selectable(func(c *certificatesv1.CertificateSigningRequest, name string) (string, bool) {
				return c.Spec.SignerName, name == "spec.signerName"
			}),
			FieldNames: []string{"spec.signerName"},
		}),
	}
}
