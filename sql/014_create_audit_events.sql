CREATE TABLE IF NOT EXISTS `audit_events` (
  `seq` BIGINT UNSIGNED NOT NULL,
  `tenant_id` BINARY(16) NOT NULL,
  `evt_id` BINARY(16) NOT NULL,
  `prev_hash` BINARY(32) NOT NULL,
  `payload` VARBINARY(4096) NOT NULL,
  `curr_hash` BINARY(32) NOT NULL,
  PRIMARY KEY (`seq`),
  KEY `tenant_event` (`tenant_id`, `evt_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin
