-- What people made: a second organisation, keys of each role (their secrets are `seed-<name>`), dashboards of their own.
INSERT INTO org (name) VALUES ('Second Org.');
INSERT INTO org_user (org_id, user_id, role) VALUES (2, 1, 'Admin');
INSERT INTO dashboard (slug, title, data, org_id, uid) VALUES
    ('own-dashboard', 'Our own', '{"panels": [{"type": "timeseries"}]}', 1, 'own-1'),
    ('old-dashboard', 'Our old one', '{"panels": [{"type": "graph"}, {"type": "singlestat"}]}', 1, 'own-2');
INSERT INTO alert_rule (org_id, title, condition, data, uid, namespace_uid, rule_group) VALUES (1, 'MySQL is down', 'A', '[]', 'rule-1', 'own-1', 'db');
