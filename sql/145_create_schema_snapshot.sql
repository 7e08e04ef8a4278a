-- What the schema is, object by object, and beside it (server.…) what else decides who may do what (SPEC §4.7).
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `schema_snapshot`()
    READS SQL DATA
BEGIN
  COMMIT AND NO CHAIN NO RELEASE;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
  START TRANSACTION;
  WITH privileges AS (
    SELECT p.GRANTEE AS grantee, CONCAT(p.PRIVILEGE_TYPE, ' ON *.*', IF(p.IS_GRANTABLE = 'YES', ' WITH GRANT OPTION', '')) AS item
    FROM information_schema.USER_PRIVILEGES p WHERE p.PRIVILEGE_TYPE <> 'USAGE'
    UNION ALL
    SELECT p.GRANTEE, CONCAT(p.PRIVILEGE_TYPE, ' ON ', p.TABLE_SCHEMA, '.*', IF(p.IS_GRANTABLE = 'YES', ' WITH GRANT OPTION', ''))
    FROM information_schema.SCHEMA_PRIVILEGES p
    UNION ALL
    SELECT p.GRANTEE, CONCAT(p.PRIVILEGE_TYPE, ' ON ', p.TABLE_SCHEMA, '.', p.TABLE_NAME, IF(p.IS_GRANTABLE = 'YES', ' WITH GRANT OPTION', ''))
    FROM information_schema.TABLE_PRIVILEGES p
    UNION ALL
    SELECT p.GRANTEE, CONCAT(p.PRIVILEGE_TYPE, ' (', p.COLUMN_NAME, ') ON ', p.TABLE_SCHEMA, '.', p.TABLE_NAME, IF(p.IS_GRANTABLE = 'YES', ' WITH GRANT OPTION', ''))
    FROM information_schema.COLUMN_PRIVILEGES p
    UNION ALL
    SELECT CONCAT('''', p.User, '''@''', p.Host, ''''), CONCAT(UPPER(p.Proc_priv), ' ON ', p.Routine_type, ' ', p.Db, '.', p.Routine_name)
    FROM mysql.procs_priv p
    UNION ALL
    SELECT CONCAT('''', r.TO_USER, '''@''', r.TO_HOST, ''''), CONCAT('ROLE ', r.FROM_USER, '@', r.FROM_HOST)
    FROM mysql.role_edges r
    UNION ALL
    SELECT CONCAT('''', x.User, '''@''', x.Host, ''''), CONCAT('PROXY ON ', x.Proxied_user, '@', x.Proxied_host)
    FROM mysql.proxies_priv x
  ), objects AS (
    SELECT 'table' AS kind, t.TABLE_NAME AS name, CONCAT_WS('\n',
      CONCAT_WS(' ', t.ENGINE, t.ROW_FORMAT, t.TABLE_COLLATION,
        TRIM(REPLACE(REPLACE(t.CREATE_OPTIONS, 'ENCRYPTION=''Y''', ''), 'ENCRYPTION=''N''', ''))),
      (SELECT GROUP_CONCAT(CONCAT_WS(' ', 'column', c.COLUMN_NAME, c.COLUMN_TYPE, c.IS_NULLABLE, IFNULL(c.COLLATION_NAME, '-'),
          IFNULL(QUOTE(c.COLUMN_DEFAULT), '-'), c.EXTRA, c.GENERATION_EXPRESSION)
          ORDER BY c.ORDINAL_POSITION SEPARATOR '\n')
        FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME),
      (SELECT GROUP_CONCAT(CONCAT_WS(' ', 'index', s.INDEX_NAME, s.SEQ_IN_INDEX, s.COLUMN_NAME, s.EXPRESSION, s.SUB_PART,
          IF(s.NON_UNIQUE, 'any', 'unique'), s.COLLATION, s.INDEX_TYPE, s.IS_VISIBLE)
          ORDER BY s.INDEX_NAME, s.SEQ_IN_INDEX SEPARATOR '\n')
        FROM information_schema.STATISTICS s WHERE s.TABLE_SCHEMA = t.TABLE_SCHEMA AND s.TABLE_NAME = t.TABLE_NAME),
      (SELECT GROUP_CONCAT(CONCAT_WS(' ', 'constraint', k.CONSTRAINT_NAME, k.CONSTRAINT_TYPE, k.ENFORCED, x.CHECK_CLAUSE)
          ORDER BY k.CONSTRAINT_NAME, k.CONSTRAINT_TYPE SEPARATOR '\n')
        FROM information_schema.TABLE_CONSTRAINTS k
        LEFT JOIN information_schema.CHECK_CONSTRAINTS x
          ON x.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND x.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND k.CONSTRAINT_TYPE = 'CHECK'
        WHERE k.TABLE_SCHEMA = t.TABLE_SCHEMA AND k.TABLE_NAME = t.TABLE_NAME)) AS definition
    FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = 'securedb' AND t.TABLE_TYPE <> 'VIEW'
    UNION ALL
    SELECT 'view', v.TABLE_NAME, CONCAT_WS('\n',
      CONCAT_WS(' ', v.DEFINER, v.SECURITY_TYPE, v.CHECK_OPTION, v.CHARACTER_SET_CLIENT, v.COLLATION_CONNECTION), v.VIEW_DEFINITION)
    FROM information_schema.VIEWS v WHERE v.TABLE_SCHEMA = 'securedb'
    UNION ALL
    SELECT LOWER(r.ROUTINE_TYPE), r.ROUTINE_NAME, CONCAT_WS('\n',
      CONCAT_WS(' ', r.DEFINER, r.SECURITY_TYPE, r.IS_DETERMINISTIC, r.SQL_DATA_ACCESS, r.SQL_MODE, r.CHARACTER_SET_CLIENT,
        r.COLLATION_CONNECTION, r.DATABASE_COLLATION, r.EXTERNAL_LANGUAGE),
      (SELECT GROUP_CONCAT(CONCAT_WS(' ', 'parameter', p.ORDINAL_POSITION, p.PARAMETER_MODE, p.PARAMETER_NAME, p.DTD_IDENTIFIER, p.COLLATION_NAME)
          ORDER BY p.ORDINAL_POSITION SEPARATOR '\n')
        FROM information_schema.PARAMETERS p
        WHERE p.SPECIFIC_SCHEMA = r.ROUTINE_SCHEMA AND p.SPECIFIC_NAME = r.SPECIFIC_NAME AND p.ROUTINE_TYPE = r.ROUTINE_TYPE),
      r.ROUTINE_DEFINITION)
    FROM information_schema.ROUTINES r WHERE r.ROUTINE_SCHEMA = 'securedb'
    UNION ALL
    SELECT 'trigger', g.TRIGGER_NAME, CONCAT_WS('\n',
      CONCAT_WS(' ', g.ACTION_TIMING, g.EVENT_MANIPULATION, 'ON', CONCAT(g.EVENT_OBJECT_SCHEMA, '.', g.EVENT_OBJECT_TABLE), g.ACTION_ORDER,
        g.DEFINER, g.SQL_MODE, g.CHARACTER_SET_CLIENT, g.COLLATION_CONNECTION, g.DATABASE_COLLATION), g.ACTION_STATEMENT)
    FROM information_schema.TRIGGERS g WHERE g.TRIGGER_SCHEMA = 'securedb'
    UNION ALL
    SELECT 'event', e.EVENT_NAME, CONCAT_WS('\n',
      CONCAT_WS(' ', e.DEFINER, e.TIME_ZONE, e.EVENT_TYPE, e.INTERVAL_VALUE, e.INTERVAL_FIELD, e.EXECUTE_AT, e.ENDS, e.STATUS, e.ON_COMPLETION,
        e.SQL_MODE, e.CHARACTER_SET_CLIENT, e.COLLATION_CONNECTION, e.DATABASE_COLLATION), e.EVENT_DEFINITION)
    FROM information_schema.EVENTS e WHERE e.EVENT_SCHEMA = 'securedb'
    UNION ALL
    SELECT 'server.event', CONCAT(e.EVENT_SCHEMA, '.', e.EVENT_NAME), CONCAT_WS('\n', CONCAT_WS(' ', e.DEFINER, e.STATUS), e.EVENT_DEFINITION)
    FROM information_schema.EVENTS e WHERE e.EVENT_SCHEMA <> 'securedb'
    UNION ALL
    SELECT IF(p.grantee = '''api_definer''@''localhost''', 'grant', 'server.grant'), p.grantee,
      GROUP_CONCAT(p.item ORDER BY p.item SEPARATOR '\n')
    FROM privileges p GROUP BY p.grantee
    UNION ALL
    SELECT IF(u.User = 'api_definer' AND u.Host = 'localhost', 'account', 'server.account'), CONCAT('''', u.User, '''@''', u.Host, ''''),
      CONCAT_WS('\n', CONCAT_WS(' ', u.plugin, IF(u.plugin = 'auth_socket', u.authentication_string, IF(LENGTH(u.authentication_string) > 0, 'secret', 'none')),
        CONCAT('locked=', u.account_locked), CONCAT('require=', u.ssl_type), CONCAT('connections=', u.max_user_connections)),
        NULLIF(CONVERT(u.x509_issuer USING utf8mb4), ''), NULLIF(CONVERT(u.x509_subject USING utf8mb4), ''))
    FROM mysql.user u
    UNION ALL
    SELECT 'server.schema', s.SCHEMA_NAME, s.DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA s
    UNION ALL
    SELECT 'server.plugin', p.PLUGIN_NAME, CONCAT_WS(' ', p.PLUGIN_STATUS, p.PLUGIN_TYPE, p.PLUGIN_LIBRARY)
    FROM information_schema.PLUGINS p WHERE p.PLUGIN_LIBRARY IS NOT NULL
    UNION ALL
    SELECT 'server.component', c.component_urn, 'installed' FROM mysql.component c
    UNION ALL
    SELECT 'server.function', f.name, f.dl FROM mysql.func f
    UNION ALL
    SELECT 'server.limit', 'gate_limits',
      CONCAT_WS(' ', l.unsealed_seconds, l.anchor_seconds, l.anchor_warn_seconds, l.tenant_pending) FROM gate_limits l
    UNION ALL
    SELECT 'server.variable', v.VARIABLE_NAME, v.VARIABLE_VALUE FROM performance_schema.global_variables v
    WHERE v.VARIABLE_NAME IN ('version', 'event_scheduler', 'require_secure_transport', 'tls_version', 'tls_ciphersuites',
      'transaction_isolation', 'time_zone', 'sql_mode', 'log_bin', 'log_bin_trust_function_creators', 'binlog_format', 'sync_binlog',
      'innodb_flush_log_at_trx_commit', 'local_infile', 'secure_file_priv', 'skip_name_resolve', 'skip_networking', 'init_connect',
      'init_file', 'read_only', 'super_read_only', 'autocommit', 'completion_type', 'mandatory_roles', 'activate_all_roles_on_login',
      'automatic_sp_privileges', 'partial_revokes', 'require_row_format', 'character_set_server', 'collation_server',
      'lower_case_table_names', 'sql_require_primary_key', 'performance_schema', 'innodb_rollback_on_timeout')
  )
  SELECT /*+ SET_VAR(group_concat_max_len = 16777216) */ CAST(o.kind AS CHAR) AS kind, CAST(o.name AS CHAR) AS name, CAST(o.definition AS CHAR) AS definition
  FROM objects o
  ORDER BY CAST(o.kind AS BINARY), CAST(o.name AS BINARY);
  COMMIT AND NO CHAIN NO RELEASE;
END
