package desired

import (
	"slices"
	"strings"
)

// dnsProvider is what a provider for dns-01 is told. certs/acme/dns01 is the
// authority on them; a test of cmd/fairlead holds the two against each other.
type dnsProvider struct {
	name         string
	needs, takes []string
	together     [][]string // all of these, or none
}

func dnsProviders() []dnsProvider {
	return []dnsProvider{
		{"cloudflare", []string{"api_token"}, nil, nil},
		{"route53", nil, []string{"access_key_id", "secret_access_key", "session_token", "hosted_zone_id"}, [][]string{{"access_key_id", "secret_access_key"}}},
		{"googleclouddns", []string{"gcp_project"}, []string{"service_account_json"}, nil},
		{"azure", []string{"subscription_id", "resource_group_name"}, []string{"tenant_id", "client_id", "client_secret"}, [][]string{{"tenant_id", "client_secret"}}},
		{"hetzner", []string{"api_token"}, nil, nil},
		{"rfc2136", []string{"server"}, []string{"key_name", "key_alg", "key"}, [][]string{{"key_name", "key"}}},
	}
}

func dnsProviderNames() (names []string) {
	for _, p := range dnsProviders() {
		names = append(names, p.name)
	}
	return names
}

// secretSettings are those that must not stand in git.
func secretSetting(name string) bool {
	return slices.Contains([]string{"api_token", "secret_access_key", "session_token", "service_account_json", "client_secret", "key"}, name)
}

// checkSettings says which settings are missing or unknown.
func (p *parsed) checkSettings(at string, d DNS) {
	all := dnsProviders()
	i := slices.IndexFunc(all, func(x dnsProvider) bool { return x.name == d.Provider })
	if i < 0 {
		return
	}
	known := slices.Concat(all[i].needs, all[i].takes)
	for _, need := range all[i].needs {
		if d.With[need] == "" && !p.bad(at+".with") {
			p.add(at+".with", d.Provider+" needs "+need, "add with: {"+need+": …}; docs/acme.md lists the settings")
		}
	}
	for _, has := range sortedKeys(d.With) {
		if !slices.Contains(known, has) && !p.bad(join(at+".with", has)) {
			p.add(join(at+".with", has), "is not a setting of "+d.Provider, didYouMean(has, known))
		}
	}
	for _, group := range all[i].together {
		there := slices.ContainsFunc(group, func(s string) bool { return d.With[s] != "" })
		missing := slices.ContainsFunc(group, func(s string) bool { return d.With[s] == "" })
		if there && missing {
			p.add(at+".with", strings.Join(group, " and ")+" go together", "add the other, or leave both out")
		}
	}
	if d.Provider == "azure" && d.With["client_secret"] != "" && d.With["client_id"] == "" {
		p.add(at+".with", "client_secret needs client_id", "add the ID of the application that the secret is of")
	}
	if alg := strings.ToLower(strings.TrimSuffix(d.With["key_alg"], ".")); d.Provider == "rfc2136" && alg != "" && !strings.Contains(alg, "${") &&
		!slices.Contains([]string{"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}, alg) {
		p.add(at+".with.key_alg", "is not an algorithm of RFC 8945 that is supported", "write hmac-sha256, or hmac-sha1, -sha224, -sha384, -sha512")
	}
}
