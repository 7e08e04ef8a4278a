-- Which MySQL runs, and a digest of what is loaded into it (SPEC §4.15).
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `observe_server`(OUT p_mysql VARCHAR(100), OUT p_digest BINARY(32))
    READS SQL DATA
BEGIN
  SET p_mysql = VERSION();
  SELECT /*+ SET_VAR(group_concat_max_len = 16777216) */
    UNHEX(SHA2(IFNULL(GROUP_CONCAT(CAST(s.line AS BINARY) ORDER BY CAST(s.line AS BINARY) SEPARATOR '\n'), ''), 256)) INTO p_digest
  FROM (
    SELECT CONCAT_WS(' ', 'plugin', p.PLUGIN_NAME, p.PLUGIN_VERSION, p.PLUGIN_LIBRARY, p.PLUGIN_LIBRARY_VERSION) AS line
    FROM information_schema.PLUGINS p WHERE p.PLUGIN_LIBRARY IS NOT NULL AND p.PLUGIN_STATUS = 'ACTIVE'
    UNION ALL
    SELECT CONCAT_WS(' ', 'component', c.component_urn) FROM mysql.component c
    UNION ALL
    SELECT CONCAT_WS(' ', 'function', f.name, f.dl) FROM mysql.func f
  ) s;
END
